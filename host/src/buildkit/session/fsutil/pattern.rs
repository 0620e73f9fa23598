//! Path patterns as ignore files and build contexts use them (the rules of moby's pattern matcher).

use regex::Regex;

/// A list of patterns, evaluated in order; a later one overrules an earlier one.
#[derive(Debug, Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
}

/// For each pattern of a list whether it hit a path; what the children of that path start from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits(Vec<bool>);

/// A pattern that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `!` with nothing after it.
    #[error("illegal exclusion pattern: \"!\"")]
    EmptyException,
    /// A bracket or a backslash without its other half.
    #[error("syntax error in pattern `{0}`")]
    Syntax(String),
}

#[derive(Debug)]
struct Pattern {
    /// Leading `!`: takes paths out of what matched before.
    exception: bool,
    /// The part before the first special character: nothing below another folder can match.
    literal: String,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Exact(String),
    Prefix(String),
    /// `**` alone is the empty suffix.
    Suffix(String),
    Regex(Regex),
}

impl Patterns {
    /// Reads patterns in the order in which they count; empty ones are skipped.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, PatternError> {
        let patterns = patterns
            .into_iter()
            .filter(|pattern| !pattern.as_ref().trim().is_empty())
            .map(|pattern| Pattern::parse(pattern.as_ref().trim()))
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether `path` matches, given the hits of its parent folder, and the hits for its own children.
    pub fn matches(&self, path: &str, parent: Option<&Hits>) -> (bool, Hits) {
        let mut matched = false;
        let mut hits = Vec::with_capacity(self.patterns.len());
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent
                .and_then(|parent| parent.0.get(index))
                .copied()
                .unwrap_or(false);
            // A pattern that cannot change the outcome is not tried.
            let hit = inherited || (pattern.exception == matched && pattern.rule.matches(path));
            if hit {
                matched = !pattern.exception;
            }
            hits.push(hit);
        }
        (matched, Hits(hits))
    }

    /// Whether a plain pattern could match something below the folder `dir`. May say yes in vain, never no.
    pub fn may_match_below(&self, dir: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| !pattern.exception && pattern.may_match_below(dir))
    }

    /// Whether an exception could match something below the folder `dir`. May say yes in vain, never no.
    pub fn may_except_below(&self, dir: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.exception && pattern.may_match_below(dir))
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let (exception, text) = match text.strip_prefix('!') {
            Some("") => return Err(PatternError::EmptyException),
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let cleaned = clean(text);
        let literal = cleaned
            .split(['*', '?', '[', '\\'])
            .next()
            .unwrap_or_default()
            .to_owned();
        let rule = Rule::parse(&cleaned)?;
        Ok(Self {
            exception,
            literal,
            rule,
        })
    }

    fn may_match_below(&self, dir: &str) -> bool {
        let below = format!("{dir}/");
        self.literal.starts_with(&below) || below.starts_with(&self.literal)
    }
}

impl Rule {
    fn parse(pattern: &str) -> Result<Self, PatternError> {
        let special = |text: &str| text.contains(['*', '?', '[', ']', '\\']);
        if !special(pattern) {
            return Ok(Self::Exact(pattern.to_owned()));
        }
        if let Some(rest) = pattern.strip_prefix("**")
            && !special(rest)
        {
            return Ok(Self::Suffix(rest.to_owned()));
        }
        if let Some(rest) = pattern.strip_suffix("**")
            && !special(rest)
        {
            return Ok(Self::Prefix(rest.to_owned()));
        }
        let syntax = || PatternError::Syntax(pattern.to_owned());
        let regex = regex_text(pattern).ok_or_else(syntax)?;
        Regex::new(&regex).map(Self::Regex).map_err(|_| syntax())
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text.as_str()),
            Self::Suffix(text) => {
                path.ends_with(text.as_str()) || text.strip_prefix('/').is_some_and(|name| path == name)
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// The anchored regular expression for a glob; `None` when its syntax is wrong.
fn regex_text(pattern: &str) -> Option<String> {
    let mut text = String::from("^");
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                text.push_str(if rest.peek().is_none() { ".*" } else { "(.*/)?" });
            }
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' => text.push_str(&class_text(&mut rest)?),
            '\\' => text.push_str(&regex::escape(&rest.next()?.to_string())),
            other => text.push_str(&regex::escape(&other.to_string())),
        }
    }
    text.push('$');
    Some(text)
}

/// A bracket expression, from behind its `[`.
fn class_text(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut text = String::from("[");
    if rest.next_if_eq(&'^').is_some() {
        text.push('^');
    }
    let mut empty = true;
    loop {
        match rest.next()? {
            ']' if !empty => break,
            '-' if !empty => text.push('-'),
            '\\' => text.push_str(&regex::escape(&rest.next()?.to_string())),
            // Escaped, so that the set operators of this engine (`&&`, `~~`) and nested brackets stay literal.
            other if other.is_ascii_punctuation() => {
                text.push('\\');
                text.push(other);
            }
            other => text.push(other),
        }
        empty = false;
    }
    text.push(']');
    Some(text)
}

/// The shortest equal path: no empty parts, no `.`, `..` resolved where something stands before it.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(part),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(pattern: &str, path: &str) -> bool {
        let patterns = Patterns::new([pattern]).unwrap();
        let mut parent: Option<Hits> = None;
        let parts: Vec<&str> = path.split('/').collect();
        let mut result = false;
        for end in 1..=parts.len() {
            let (matched, hits) = patterns.matches(&parts[..end].join("/"), parent.as_ref());
            result = matched;
            parent = Some(hits);
        }
        result
    }

    #[test]
    fn patterns_follow_the_documented_rules() {
        let cases = [
            ("foo", "foo", true),
            ("foo", "foo/bar", true),
            ("foo", "foobar", false),
            ("a//b/../c", "a/c", true),
            ("x/**", "x/y", true),
            ("x/**", "x", false),
            ("x**", "xyz", true),
            ("**/foo", "foo", true),
            ("**/foo", "a/b/foo", true),
            ("**/foo", "a/afoo", false),
            ("**foo", "afoo", true),
            ("**", "anything/at/all", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("*.go", "main.go", true),
            ("*.go", "dir/main.go", false),
            ("*/*.go", "dir/main.go", true),
            ("?.txt", "a.txt", true),
            ("?.txt", "ab.txt", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            (r"\*x", "*x", true),
            (r"\*x", "ax", false),
            ("a.c", "abc", false),
            ("a+(b)", "a+(b)", true),
            ("[&&~]", "&", true),
            ("node_modules", "pkg/node_modules", false),
        ];
        for (pattern, path, wanted) in cases {
            assert_eq!(hit(pattern, path), wanted, "{pattern} on {path}");
        }
    }

    #[test]
    fn an_exception_takes_back_and_its_children_follow() {
        let patterns = Patterns::new(["*", "!keep", "keep/secret"]).unwrap();
        let (keep, hits) = patterns.matches("keep", None);
        assert!(!keep);
        assert!(!patterns.matches("keep/a", Some(&hits)).0);
        assert!(patterns.matches("keep/secret", Some(&hits)).0);
        assert!(patterns.matches("other", None).0);
    }

    #[test]
    fn bad_patterns_are_named() {
        assert_eq!(Patterns::new(["!"]).unwrap_err(), PatternError::EmptyException);
        assert_eq!(
            Patterns::new(["[a"]).unwrap_err(),
            PatternError::Syntax("[a".to_owned())
        );
        assert_eq!(
            Patterns::new([r"a\"]).unwrap_err(),
            PatternError::Syntax(r"a\".to_owned())
        );
    }

    #[test]
    fn folders_are_left_out_only_when_nothing_below_can_match() {
        let patterns = Patterns::new(["src/*.rs", "!docs/api/x"]).unwrap();
        assert!(patterns.may_match_below("src"));
        assert!(!patterns.may_match_below("target"));
        assert!(patterns.may_except_below("docs"));
        assert!(!patterns.may_except_below("src"));
        assert!(Patterns::new(["**/x"]).unwrap().may_match_below("any"));
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, wanted) in [
            ("a//b", "a/b"),
            ("./a", "a"),
            ("a/../..", ".."),
            ("/..", "/"),
            ("", "."),
            ("a/./b/", "a/b"),
        ] {
            assert_eq!(clean(path), wanted);
        }
    }
}
