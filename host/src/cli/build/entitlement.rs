//! `--allow`: what a build may do beyond the ordinary.

use super::value::ValueError;

/// Entitlements of one build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Sent to the daemon.
    pub entitlements: Vec<String>,
    /// A local output may delete files outside of the working folder.
    pub local_delete: bool,
}

/// The one entitlement that the daemon never sees.
pub const LOCAL_DELETE: &str = "buildx.local.delete";

/// Parses all values of the flag.
///
/// # Errors
///
/// `unknown entitlement X`, and a value where none belongs.
pub fn parse(values: &[String]) -> Result<Allowed, ValueError> {
    let mut allowed = Allowed::default();
    for value in values.iter().filter(|value| !value.is_empty()) {
        let (name, argument) = match value.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (value.as_str(), None),
        };
        match (name, argument) {
            (LOCAL_DELETE, None) => allowed.local_delete = true,
            (LOCAL_DELETE, Some(_)) => {
                return Err(ValueError::new(format!("{LOCAL_DELETE} does not accept a value")));
            }
            ("network.host" | "security.insecure", None) | ("device", _) => {
                allowed.entitlements.push(value.clone());
            }
            _ => {
                return Err(
                    ValueError::new(format!("unknown entitlement {value}")).hint(format!(
                        "Known ones: network.host, security.insecure, device, {LOCAL_DELETE}"
                    )),
                );
            }
        }
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(values: &[&str]) -> Result<Allowed, String> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        parse(&values).map_err(|error| error.to_string())
    }

    #[test]
    fn the_client_keeps_its_own() {
        let allowed = parsed(&["network.host", LOCAL_DELETE, "device=gpu,alias=x"]).unwrap();
        assert_eq!(allowed.entitlements, ["network.host", "device=gpu,alias=x"]);
        assert!(allowed.local_delete);
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(parsed(&["root"]).unwrap_err(), "unknown entitlement root");
        assert_eq!(
            parsed(&["buildx.local.delete=1"]).unwrap_err(),
            "buildx.local.delete does not accept a value"
        );
    }
}
