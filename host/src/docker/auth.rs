//! Registry credentials as an engine takes them with a request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Map, Value};

use crate::buildkit::spec::Credential;

/// Docker Hub, and how the docker client calls it here: engines with the containerd image store use credentials only for
/// the host that is named.
const HUB: &str = "docker.io";
const HUB_ADDRESS: &str = "https://index.docker.io/v1/";

/// The value of `X-Registry-Auth`: JSON in URL-safe base64; an empty object when there are no credentials.
pub fn header(credential: &Credential, host: &str) -> String {
    let mut fields = Map::new();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(name.to_owned(), Value::from(value));
        }
    };
    add("registrytoken", &credential.registry_token);
    match credential.username.as_str() {
        "" => add("identitytoken", &credential.secret),
        user => {
            add("username", user);
            add("password", &credential.secret);
        }
    }
    if !fields.is_empty() {
        let address = if host == HUB { HUB_ADDRESS } else { host };
        fields.insert("serveraddress".to_owned(), Value::from(address));
    }
    URL_SAFE.encode(Value::Object(fields).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(credential: &Credential) -> String {
        decoded_for(credential, "r:5000")
    }

    fn decoded_for(credential: &Credential, host: &str) -> String {
        String::from_utf8(URL_SAFE.decode(header(credential, host)).unwrap()).unwrap()
    }

    #[test]
    fn credentials_are_named_by_what_they_are() {
        let none = Credential::default();
        assert_eq!(header(&none, "r"), "e30=");
        let password = Credential {
            username: "u".to_owned(),
            secret: "p".to_owned(),
            ..Credential::default()
        };
        assert_eq!(
            decoded(&password),
            r#"{"username":"u","password":"p","serveraddress":"r:5000"}"#
        );
        assert!(
            decoded_for(&password, "docker.io").contains(r#""serveraddress":"https://index.docker.io/v1/""#)
        );
        let token = Credential {
            secret: "t".to_owned(),
            ..Credential::default()
        };
        assert_eq!(
            decoded(&token),
            r#"{"identitytoken":"t","serveraddress":"r:5000"}"#
        );
    }
}
