//! Names of builders and nodes.

use super::words;

/// Name of the active engine's own builder, which no stored builder may have.
pub const RESERVED: &str = "default";

/// A name with characters that it must not have; the text is buildx's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name {0}, name needs to start with a letter and may not contain symbols, except ._-")]
pub struct InvalidName(pub String);

/// Checks a builder's or node's name and returns its lower-cased form: the file name.
pub fn validate(name: &str) -> Result<String, InvalidName> {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    if starts && chars.all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(InvalidName(name.to_owned()))
    }
}

/// How many random names are tried before giving up.
const ATTEMPTS: usize = 6;

/// A random `adjective_noun` name for which `taken` is false; attempts after the first get a digit.
pub fn random(taken: impl Fn(&str) -> bool) -> Option<String> {
    (0..ATTEMPTS).find_map(|attempt| {
        let mut name = format!("{}_{}", pick(words::ADJECTIVES), pick(words::NOUNS));
        if attempt > 0 {
            name.push_str(&rand::random_range(0..10).to_string());
        }
        (!taken(&name)).then_some(name)
    })
}

fn pick<'a>(words: &[&'a str]) -> &'a str {
    words
        .get(rand::random_range(0..words.len()))
        .copied()
        .unwrap_or_default()
}

/// The name of a new node: the builder's name and the smallest free number, lower-cased.
///
/// Unlike buildx, which searches with the unlowered spelling and so gives every node of a builder `Fast` the name
/// `fast0`.
pub fn next_node<'a>(builder: &str, taken: impl Iterator<Item = &'a str> + Clone) -> String {
    let prefix = builder.to_ascii_lowercase();
    let mut number = 0usize;
    loop {
        let name = format!("{prefix}{number}");
        if !taken.clone().any(|other| other == name) {
            return name;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_start_with_a_letter() {
        assert_eq!(validate("Fast.1_a-b").unwrap(), "fast.1_a-b");
        for bad in ["", "1x", ".tmp-1", "a b", "a/b", "ä"] {
            assert!(validate(bad).is_err(), "{bad}");
        }
        assert_eq!(
            validate("1x").unwrap_err().to_string(),
            "invalid name 1x, name needs to start with a letter and may not contain symbols, except ._-"
        );
    }

    #[test]
    fn random_names_are_valid_and_free() {
        let name = random(|_| false).unwrap();
        assert_eq!(validate(&name).unwrap(), name);
        assert_eq!(random(|_| true), None);
        let second = random(|name| !name.ends_with(|c: char| c.is_ascii_digit())).unwrap();
        assert!(second.ends_with(|c: char| c.is_ascii_digit()));
    }

    #[test]
    fn node_numbers_fill_gaps() {
        assert_eq!(next_node("Fast", ["fast0", "fast2"].into_iter()), "fast1");
    }
}
