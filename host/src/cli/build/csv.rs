//! One RFC 4180 record inside a flag's value: `a=b,"c=d,e"`.

use super::value::ValueError;

/// Splits `text` into its fields, as Go's `encoding/csv` does with a single line.
///
/// A field is quoted only if its first character is `"`; inside, `""` is one quote. One trailing newline is dropped;
/// blanks are kept.
///
/// # Errors
///
/// `EOF` for an empty text; a parse error with the column (in bytes, from 1) for a misplaced quote.
pub fn fields(text: &str) -> Result<Vec<String>, ValueError> {
    super::super::values::csv_record(text).map_err(|message| {
        let refusal = ValueError::new(message);
        if text.contains('"') {
            refusal.hint("Quote a whole field, as in `'\"dest=a,b\"'`, not a part of it")
        } else {
            refusal
        }
    })
}

/// Splits a `key=value` field at its first `=`.
///
/// # Errors
///
/// `invalid value FIELD` when there is no `=`.
pub fn key_value(field: &str) -> Result<(&str, &str), ValueError> {
    field.split_once('=').ok_or_else(|| {
        ValueError::new(format!("invalid value {field}")).hint("Fields are written `key=value`")
    })
}

/// Joins `key=value` pairs to one record, quoting where a comma asks for it, as buildx does: a quote inside a quoted
/// field is not doubled.
pub fn join<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let fields = pairs.into_iter().map(|(key, value)| {
        if key.contains(',') || value.contains(',') {
            format!("\"{key}={value}\"")
        } else {
            format!("{key}={value}")
        }
    });
    fields.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_split_and_unquoted() {
        for (text, expected) in [
            ("a", &["a"][..]),
            ("a,b", &["a", "b"]),
            ("a,", &["a", ""]),
            (",", &["", ""]),
            (" a , b", &[" a ", " b"]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#""a""b""#, &["a\"b"]),
            (r#""","""""#, &["", "\""]),
            ("a\n", &["a"]),
            ("a\r\n", &["a"]),
        ] {
            assert_eq!(fields(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn refusals_have_gos_words() {
        for (text, refusal) in [
            ("", "EOF"),
            ("\n", "EOF"),
            (
                r#"a"b"#,
                r#"parse error on line 1, column 2: bare " in non-quoted-field"#,
            ),
            (
                r#"x,a"b"#,
                r#"parse error on line 1, column 4: bare " in non-quoted-field"#,
            ),
            (
                r#"type=local,dest="a""#,
                r#"parse error on line 1, column 17: bare " in non-quoted-field"#,
            ),
            (
                r#""a"b"#,
                r#"parse error on line 1, column 3: extraneous or missing " in quoted-field"#,
            ),
            (
                r#""a"#,
                r#"parse error on line 1, column 2: extraneous or missing " in quoted-field"#,
            ),
            (
                r#""a""b"#,
                r#"parse error on line 1, column 5: extraneous or missing " in quoted-field"#,
            ),
        ] {
            assert_eq!(fields(text).unwrap_err().to_string(), refusal, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn quoted_fields_come_back(list in proptest::collection::vec("[a-z\",= ]{0,6}", 1..5)) {
            let text: Vec<String> = list.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            prop_assert_eq!(fields(&text.join(",")).unwrap(), list);
        }

        #[test]
        fn any_text_is_split_or_refused(text in "[ab,\"\\n]{0,12}") {
            if let Ok(list) = fields(&text) {
                prop_assert!(!list.is_empty());
            }
        }
    }
}
