//! The alias `builder` in the text of the docker client's `config.json`, changed without touching anything else: order,
//! indentation and unknown members stay as somebody has written them.

use std::ops::Range;

use serde_json::Value;

/// The member of `config.json` that holds aliases.
const ALIASES: &str = "aliases";
/// The alias of `docker build` and `docker builder`.
const BUILDER: &str = "builder";
/// How docker itself begins a line of a member.
const DOCKER_LEAD: &str = "\n\t";

/// A text that is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum BrokenConfig {
    /// It is not UTF-8.
    #[error("It is not UTF-8")]
    Encoding(#[from] std::str::Utf8Error),
    /// It is no JSON; the cause names line and column.
    #[error("It is not valid JSON")]
    Syntax(#[from] serde_json::Error),
    /// Something else stands where an object is expected.
    #[error("{what} is not an object")]
    NoObject {
        /// What should be one.
        what: &'static str,
    },
}

/// A configuration that can be changed.
#[derive(Clone, Debug)]
pub struct ConfigText {
    text: String,
}

impl ConfigText {
    /// Takes the content of the file; an empty one counts as an empty object, as it does for docker.
    pub fn parse(data: &[u8]) -> Result<Self, BrokenConfig> {
        let text = std::str::from_utf8(data)?;
        let text = if text.trim().is_empty() { "{}" } else { text };
        let value: Value = serde_json::from_str(text)?;
        let root = value.as_object().ok_or(BrokenConfig::NoObject { what: "It" })?;
        match root.get(ALIASES) {
            None | Some(Value::Object(_)) => Ok(Self {
                text: text.to_owned(),
            }),
            Some(_) => Err(BrokenConfig::NoObject { what: "`aliases`" }),
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.root().is_none_or(|root| root.members.is_empty())
    }

    /// What the alias `builder` stands for.
    pub fn builder(&self) -> Option<String> {
        let (_, aliases) = self.aliases()?;
        let member = aliases.member(BUILDER)?;
        let value: Value = serde_json::from_str(self.text.get(member.value.clone())?).ok()?;
        value.as_str().map(str::to_owned)
    }

    /// The same with `builder` standing for `plugin`.
    pub fn with_builder(&self, plugin: &str) -> Self {
        let value = Value::from(plugin).to_string();
        let Some(root) = self.root() else {
            return self.clone();
        };
        let Some((_, aliases)) = self.aliases() else {
            let style = Style::of(&self.text, &root);
            let object = style.object(BUILDER, &value);
            return self.with(style.insert(&root, ALIASES, &object));
        };
        match aliases.member(BUILDER) {
            Some(member) => self.with((member.value.clone(), value)),
            None => self.with(
                Style::of(&self.text, &root)
                    .deeper(&self.text, &aliases)
                    .insert(&aliases, BUILDER, &value),
            ),
        }
    }

    /// The same without the alias `builder`; the last alias takes `aliases` with it.
    pub fn without_builder(&self) -> Self {
        let Some((root, aliases)) = self.aliases() else {
            return self.clone();
        };
        match aliases.members.as_slice() {
            [only] if only.key == BUILDER => self.with(root.removal(ALIASES)),
            _ => self.with(aliases.removal(BUILDER)),
        }
    }

    fn with(&self, (range, text): (Range<usize>, String)) -> Self {
        let mut changed = self.text.clone();
        if changed.get(range.clone()).is_some() {
            changed.replace_range(range, &text);
        }
        Self { text: changed }
    }

    fn root(&self) -> Option<Object> {
        Scanner::at(&self.text, 0).object()
    }

    /// The whole, and the object of the aliases.
    fn aliases(&self) -> Option<(Object, Object)> {
        let root = self.root()?;
        let place = root.member(ALIASES)?.value.start;
        let aliases = Scanner::at(&self.text, place).object()?;
        Some((root, aliases))
    }
}

/// Where an object and its members stand in a text.
#[derive(Debug)]
struct Object {
    /// Between the braces.
    inside: Range<usize>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    key: String,
    /// From the quote of the key to the end of the value.
    whole: Range<usize>,
    /// Between key and value: the colon and blanks.
    colon: Range<usize>,
    value: Range<usize>,
}

impl Object {
    /// Of members with the same key the last one counts.
    fn member(&self, key: &str) -> Option<&Member> {
        self.members.iter().rev().find(|member| member.key == key)
    }

    /// The range that takes a member away, with the comma that goes with it.
    fn removal(&self, key: &str) -> (Range<usize>, String) {
        let place = self.members.iter().rposition(|member| member.key == key);
        let neighbours = |place: usize| {
            let before = place.checked_sub(1).and_then(|before| self.members.get(before));
            (before, self.members.get(place), self.members.get(place + 1))
        };
        let range = match place.map(neighbours) {
            Some((Some(before), Some(member), _)) => before.whole.end..member.whole.end,
            Some((None, Some(member), Some(after))) => member.whole.start..after.whole.start,
            Some(_) => self.inside.clone(),
            None => 0..0,
        };
        (range, String::new())
    }
}

/// How a text sets its members apart.
#[derive(Clone, Debug)]
struct Style {
    /// Before a member, if each has a line: the line break and the indentation.
    lead: Option<String>,
    /// Before the brace that closes the members.
    tail: String,
    /// One step of indentation.
    unit: String,
    /// Between members on one line.
    blank: String,
    colon: String,
}

impl Style {
    /// The style of the whole.
    fn of(text: &str, root: &Object) -> Self {
        let cut = |range: Range<usize>| text.get(range).unwrap_or_default();
        let Some(first) = root.members.first() else {
            return Self {
                lead: Some(DOCKER_LEAD.to_owned()),
                tail: "\n".to_owned(),
                unit: "\t".to_owned(),
                blank: String::new(),
                colon: ": ".to_owned(),
            };
        };
        let lead = cut(root.inside.start..first.whole.start);
        let lead = lead.rfind('\n').and_then(|at| lead.get(at..)).map(str::to_owned);
        let blank = root.members.get(1).map_or("", |second| {
            cut(first.whole.end..second.whole.start).trim_start_matches(',')
        });
        Self {
            tail: if lead.is_some() {
                "\n".to_owned()
            } else {
                String::new()
            },
            unit: lead
                .as_deref()
                .map(|lead| lead.trim_start_matches('\n').to_owned())
                .unwrap_or_default(),
            lead,
            blank: blank.to_owned(),
            colon: cut(first.colon.clone()).to_owned(),
        }
    }

    /// The style of an object that is a member of the whole.
    fn deeper(&self, text: &str, object: &Object) -> Self {
        if !object.members.is_empty() {
            let own = Self::of(text, object);
            return Self {
                unit: self.unit.clone(),
                ..own
            };
        }
        Self {
            lead: self.lead.as_ref().map(|lead| format!("{lead}{}", self.unit)),
            tail: self.lead.clone().unwrap_or_default(),
            ..self.clone()
        }
    }

    /// An object with one member, as a member of the whole.
    fn object(&self, key: &str, value: &str) -> String {
        let member = format!("\"{key}\"{}{value}", self.colon);
        match &self.lead {
            Some(lead) => format!("{{{lead}{}{member}{lead}}}", self.unit),
            None => format!("{{{member}}}"),
        }
    }

    /// What puts a member behind the others.
    fn insert(&self, object: &Object, key: &str, value: &str) -> (Range<usize>, String) {
        let member = format!("\"{key}\"{}{value}", self.colon);
        let before = self.lead.as_ref().unwrap_or(&self.blank);
        match object.members.last() {
            Some(last) => (last.whole.end..last.whole.end, format!(",{before}{member}")),
            None => {
                let lead = self.lead.as_deref().unwrap_or_default();
                (object.inside.clone(), format!("{lead}{member}{}", self.tail))
            }
        }
    }
}

/// Walks over a text that is known to be JSON.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn at(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// An object, which begins here.
    fn object(&mut self) -> Option<Object> {
        self.skip_blank();
        if self.peek()? != b'{' {
            return None;
        }
        self.at += 1;
        let start = self.at;
        let mut members = Vec::new();
        loop {
            self.skip_blank();
            match self.peek()? {
                b'}' => break,
                b',' => self.at += 1,
                _ => members.push(self.member()?),
            }
        }
        let inside = start..self.at;
        Some(Object { inside, members })
    }

    fn member(&mut self) -> Option<Member> {
        let start = self.at;
        self.string()?;
        let key = serde_json::from_str(self.text.get(start..self.at)?).ok()?;
        let colon = self.at;
        while self.peek()? != b':' {
            self.at += 1;
        }
        self.at += 1;
        self.skip_blank();
        let value = self.at;
        self.value()?;
        Some(Member {
            key,
            whole: start..self.at,
            colon: colon..value,
            value: value..self.at,
        })
    }

    fn value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            let ends = self
                .peek()
                .is_none_or(|next| matches!(next, b',' | b'}' | b']') || next.is_ascii_whitespace());
            if depth == 0 && ends {
                return Some(());
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ConfigText {
        ConfigText::parse(text.as_bytes()).unwrap()
    }

    fn installed(text: &str) -> String {
        let changed = parse(text).with_builder("buildx");
        assert_eq!(
            parse(changed.text()).builder().as_deref(),
            Some("buildx"),
            "{text}"
        );
        changed.text().to_owned()
    }

    #[test]
    fn a_new_file_looks_like_dockers_own() {
        assert_eq!(
            installed(""),
            "{\n\t\"aliases\": {\n\t\t\"builder\": \"buildx\"\n\t}\n}"
        );
    }

    #[test]
    fn what_is_added_is_set_like_the_rest() {
        let tabs = "{\n\t\"auths\": {\n\t\t\"r\": {\n\t\t\t\"auth\": \"eA==\"\n\t\t}\n\t}\n}\n";
        assert_eq!(
            installed(tabs),
            "{\n\t\"auths\": {\n\t\t\"r\": {\n\t\t\t\"auth\": \"eA==\"\n\t\t}\n\t},\n\t\"aliases\": {\n\t\t\"builder\": \"buildx\"\n\t}\n}\n"
        );
        assert_eq!(
            installed("{\n  \"x\" : 1.50,\n  \"aliases\" : {}\n}"),
            "{\n  \"x\" : 1.50,\n  \"aliases\" : {\n    \"builder\" : \"buildx\"\n  }\n}"
        );
        assert_eq!(
            installed(r#"{"a": [1, 2], "aliases": {"x": "y"}}"#),
            r#"{"a": [1, 2], "aliases": {"x": "y","builder": "buildx"}}"#
        );
        assert_eq!(
            installed(r#"{"a":true}"#),
            r#"{"a":true,"aliases":{"builder":"buildx"}}"#
        );
        assert_eq!(
            installed(r#"{"aliases": {"builder": "other" }}"#),
            r#"{"aliases": {"builder": "buildx" }}"#
        );
    }

    #[test]
    fn removing_brings_every_byte_back() {
        for text in [
            "{\n\t\"auths\": {}\n}\n",
            "{\"a\":1}",
            "{ \"a\": \"}\\\"{\", \"b\": [ {\"c\": null} ] }",
            "{\n    \"aliases\": {\n        \"x\": \"y\"\n    },\n    \"z\": -1e5\n}",
            "{\r\n  \"a\": {\r\n    \"b\": 1\r\n  }\r\n}\r\n",
        ] {
            let changed = parse(&installed(text));
            assert_eq!(changed.without_builder().text(), text);
        }
        assert!(parse(&installed("{}")).without_builder().is_empty());
    }

    #[test]
    fn others_aliases_and_members_stay() {
        let removed = |text: &str| parse(text).without_builder().text().to_owned();
        assert_eq!(
            removed(r#"{"aliases":{"builder":"buildx","x":"y"},"a":1}"#),
            r#"{"aliases":{"x":"y"},"a":1}"#
        );
        assert_eq!(removed(r#"{"aliases":{"builder":"buildx"},"a":1}"#), r#"{"a":1}"#);
        assert_eq!(removed(r#"{"a":1}"#), r#"{"a":1}"#);
        assert_eq!(removed(r#"{"aliases":{"x":"y"}}"#), r#"{"aliases":{"x":"y"}}"#);
    }

    #[test]
    fn what_is_broken_says_where() {
        let why = |text: &[u8]| {
            let error = ConfigText::parse(text).unwrap_err();
            crate::causes::one_line(&error)
        };
        assert_eq!(
            why(b"{\n\t\"a\": 1,\n}"),
            "It is not valid JSON: trailing comma at line 3 column 1"
        );
        assert_eq!(why(b"[]"), "It is not an object");
        assert_eq!(why(b"{\"aliases\": []}"), "`aliases` is not an object");
        assert!(why(b"{\"a\": \"\xff\"}").starts_with("It is not UTF-8"));
    }
}
