//! `--build-arg K[=V]` and `--label K[=V]`.

use std::collections::BTreeMap;

use super::value::{Environment, ValueError};

/// Build arguments: `K` alone takes the value of the environment variable, and is dropped when that is not set. The
/// last of several with one key wins.
///
/// # Errors
///
/// An empty key.
pub fn build_args(
    values: &[String],
    environment: Environment<'_>,
) -> Result<BTreeMap<String, String>, ValueError> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs(values)? {
        if let Some(value) = value.map(str::to_owned).or_else(|| environment(key)) {
            map.insert(key.to_owned(), value);
        }
    }
    Ok(map)
}

/// Labels: `K` alone has an empty value. The last of several with one key wins.
///
/// # Errors
///
/// An empty key.
pub fn labels(values: &[String]) -> Result<BTreeMap<String, String>, ValueError> {
    Ok(pairs(values)?
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.unwrap_or_default().to_owned()))
        .collect())
}

fn pairs(values: &[String]) -> Result<Vec<(&str, Option<&str>)>, ValueError> {
    values.iter().map(|value| pair(value)).collect()
}

fn pair(text: &str) -> Result<(&str, Option<&str>), ValueError> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (text, None),
    };
    if key.is_empty() {
        return Err(ValueError::new(format!(
            "invalid key-value pair {text:?}: empty key"
        )));
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn a_bare_build_arg_comes_from_the_environment() {
        let environment = |name: &str| (name == "SET").then(|| "yes".to_owned());
        let map = build_args(&list(&["A=1", "A=2=3", "SET", "UNSET", "EMPTY="]), &environment).unwrap();
        let expected = [("A", "2=3"), ("EMPTY", ""), ("SET", "yes")];
        assert!(map.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(expected));
    }

    #[test]
    fn a_bare_label_is_empty() {
        assert_eq!(
            labels(&list(&["a"])).unwrap(),
            BTreeMap::from([("a".into(), String::new())])
        );
    }

    #[test]
    fn an_empty_key_is_refused() {
        assert_eq!(
            labels(&list(&["=x"])).unwrap_err().to_string(),
            r#"invalid key-value pair "=x": empty key"#
        );
    }
}
