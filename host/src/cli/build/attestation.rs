//! `--attest`, `--provenance` and `--sbom`.

use std::collections::BTreeMap;

use super::value::{ValueError, parse_bool};

/// Attestations by type: the value of attribute `attest:<type>`, or `None` where it was switched off.
pub type Attestations = BTreeMap<String, Option<String>>;

/// Joins the three flags. The short ones come last, and of several of one type the first wins.
///
/// # Errors
///
/// CSV errors, fields without `=`, a missing type, `disabled` that is no boolean.
pub fn parse(
    attest: &[String],
    provenance: Option<&str>,
    sbom: Option<&str>,
) -> Result<Attestations, ValueError> {
    let short = [("provenance", provenance), ("sbom", sbom)];
    let short = short
        .into_iter()
        .filter_map(|(kind, value)| Some(long_form(kind, value.filter(|v| !v.is_empty())?)));
    let mut map = Attestations::new();
    for value in attest.iter().cloned().chain(short) {
        let (kind, attribute) = parse_one(&value)?;
        map.entry(kind).or_insert(attribute);
    }
    Ok(map)
}

fn long_form(kind: &str, value: &str) -> String {
    match parse_bool(value) {
        Ok(wanted) => format!("type={kind},disabled={}", !wanted),
        Err(_) => format!("type={kind},{value}"),
    }
}

fn parse_one(value: &str) -> Result<(String, Option<String>), ValueError> {
    let mut kind = String::new();
    let mut disabled = false;
    let mut attributes = BTreeMap::new();
    for field in super::csv::fields(value)? {
        let (key, value) = super::csv::key_value(&field)?;
        match key.to_lowercase().trim() {
            "type" => value.clone_into(&mut kind),
            "disabled" => {
                disabled =
                    parse_bool(value).map_err(|error| error.within(&format!("invalid value {field}")))?;
            }
            _ => {
                attributes.insert(key.to_owned(), value.to_owned());
            }
        }
    }
    if kind.is_empty() {
        return Err(
            ValueError::new("attestation type not specified").hint("For example `type=provenance,mode=max`")
        );
    }
    let attribute = (!disabled).then(|| {
        let rest = attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        super::csv::join(std::iter::once(("type", kind.as_str())).chain(rest))
    });
    Ok((kind, attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(
        attest: &[&str],
        provenance: Option<&str>,
        sbom: Option<&str>,
    ) -> Result<Vec<(String, Option<String>)>, String> {
        let attest: Vec<String> = attest.iter().map(|value| (*value).to_owned()).collect();
        parse(&attest, provenance, sbom)
            .map(|map| map.into_iter().collect())
            .map_err(|error| error.to_string())
    }

    fn one(kind: &str, value: Option<&str>) -> Vec<(String, Option<String>)> {
        vec![(kind.to_owned(), value.map(str::to_owned))]
    }

    #[test]
    fn short_forms_are_booleans_or_attributes() {
        assert_eq!(
            parsed(&[], Some("true"), None).unwrap(),
            one("provenance", Some("type=provenance"))
        );
        assert_eq!(parsed(&[], Some("0"), None).unwrap(), one("provenance", None));
        assert_eq!(
            parsed(&[], Some("mode=max,builder-id=x"), None).unwrap(),
            one("provenance", Some("type=provenance,builder-id=x,mode=max"))
        );
        assert_eq!(
            parsed(&[], None, Some("true")).unwrap(),
            one("sbom", Some("type=sbom"))
        );
        assert_eq!(parsed(&[], Some(""), None).unwrap(), []);
    }

    #[test]
    fn the_first_of_a_type_wins() {
        assert_eq!(
            parsed(
                &["type=provenance,mode=min", "type=provenance,mode=max"],
                Some("false"),
                None
            )
            .unwrap(),
            one("provenance", Some("type=provenance,mode=min"))
        );
    }

    #[test]
    fn values_with_commas_are_quoted() {
        assert_eq!(
            parsed(&["type=sbom,\"generator=a,b\""], None, None).unwrap(),
            one("sbom", Some("type=sbom,\"generator=a,b\""))
        );
    }

    #[test]
    fn refusals_have_the_known_texts() {
        assert_eq!(
            parsed(&["mode=max"], None, None).unwrap_err(),
            "attestation type not specified"
        );
        assert_eq!(parsed(&["sbom"], None, None).unwrap_err(), "invalid value sbom");
        assert_eq!(
            parsed(&["type=sbom,disabled=x"], None, None).unwrap_err(),
            "invalid value disabled=x: strconv.ParseBool: parsing \"x\": invalid syntax"
        );
    }
}
