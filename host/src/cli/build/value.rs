//! What all value grammars share: their error, booleans, and the words of a refused flag.

use crate::error::{CommandError, ErrorKind};

/// Looks an environment variable up; `None` when it is not set.
pub type Environment<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// A refused value: the text as users know it, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    message: String,
    hint: Option<String>,
}

impl ValueError {
    /// A refusal with its whole text.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// The same refusal with the way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same refusal with `prefix: ` in front.
    pub fn within(mut self, prefix: &str) -> Self {
        self.message = format!("{prefix}: {}", self.message);
        self
    }

    /// The same refusal in the words of a flag that cannot take its value.
    pub fn of_flag(self, flag: &str, value: &str) -> Self {
        self.within(&format!("invalid argument {value:?} for \"{flag}\" flag"))
    }
}

impl From<ValueError> for CommandError {
    fn from(error: ValueError) -> Self {
        let base = Self::new(ErrorKind::User, error.message);
        match error.hint {
            Some(hint) => base.with_hint(hint),
            None => base,
        }
    }
}

impl From<crate::platform::PlatformError> for ValueError {
    fn from(error: crate::platform::PlatformError) -> Self {
        Self::new(error.to_string())
            .hint("A platform is written `os/architecture[/variant]`, for example `linux/arm64`")
    }
}

/// Parses a boolean as every flag and attribute spells it.
///
/// # Errors
///
/// Anything else is refused in Go's words.
pub fn parse_bool(text: &str) -> Result<bool, ValueError> {
    super::super::values::boolean(text).map_err(ValueError::new)
}

/// The boolean value of an optional attribute; anything that is no boolean counts as false.
pub fn is_true(text: Option<&String>) -> bool {
    text.is_some_and(|text| parse_bool(text).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_have_six_spellings_each() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(parse_bool(text), Ok(true));
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(parse_bool(text), Ok(false));
        }
        assert_eq!(
            parse_bool("yes").unwrap_err().to_string(),
            r#"strconv.ParseBool: parsing "yes": invalid syntax"#
        );
    }
}
