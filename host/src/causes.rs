//! Errors with their causes as text, for where a chain of errors has to become one line.

use std::error::Error;
use std::io;

/// An error and its causes in one line. What an error's own text already ends with is not said twice.
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        let text = text.trim_end();
        if !line.ends_with(text) {
            line.push_str(": ");
            line.push_str(text);
        }
        cause = next.source();
    }
    line
}

/// The words of a system call's error, without the number that Rust appends.
pub fn io_words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layer(text: &'static str, source: Option<Layer>) -> Layer {
        Layer {
            text,
            source: source.map(Box::new),
        }
    }

    #[test]
    fn causes_follow_once_each() {
        let error = layer(
            "outer: middle",
            Some(layer("middle", Some(layer("inner\n", None)))),
        );
        assert_eq!(one_line(&error), "outer: middle: inner");
    }

    #[test]
    fn a_system_calls_words_have_no_number() {
        let error = io::Error::from_raw_os_error(13);
        assert_eq!(io_words(&error), "Permission denied");
        assert_eq!(io_words(&io::Error::other("own words")), "own words");
    }
}
