//! Pulling an image into an engine, with the user's credentials and its progress in bytes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::AsyncRead;

use super::auth;
use super::error::EngineError;
use super::messages::{Message, Messages};
use super::transport::{Engine, Request};
use super::watch::{Heard, while_alive};
use crate::buildkit::spec::RegistryCredentials;

/// Most layers whose progress is summed; images have at most 127.
const LAYERS: usize = 1024;
/// The registry of names that say none.
const HUB: &str = "docker.io";
/// What stays as it is in the value of a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Name of an image with its parts spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// Host of the registry.
    pub registry: String,
    /// Repository with the registry in front.
    pub repository: String,
    /// Tag, or digest if it has one.
    pub version: String,
}

impl ImageName {
    /// Spells out a name as users write it: without a registry it is Docker Hub's, without a tag `latest`.
    pub fn parse(reference: &str) -> Result<Self, EngineError> {
        let invalid = || EngineError::Reference {
            reference: reference.to_owned(),
        };
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest.rfind(':').filter(|colon| *colon > after_slash) {
            Some(colon) => (rest.get(..colon).unwrap_or(rest), rest.get(colon + 1..)),
            None => (rest, None),
        };
        let version = digest.or(tag).unwrap_or("latest");
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (first, path),
            _ => (HUB, name),
        };
        let registry = match registry {
            "index.docker.io" => HUB,
            other => other,
        };
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c);
        // It is a part of paths, and the name by which credentials are looked up.
        let host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        let begins = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric());
        let empty = !path.split('/').all(begins) || version.is_empty() || tag == Some("");
        if empty
            || !(registry.starts_with('[') || begins(registry))
            || !registry.chars().all(host)
            || !path.chars().all(fits)
            || version.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(invalid());
        }
        let path = match path.contains('/') || registry != HUB {
            true => path.to_owned(),
            false => format!("library/{path}"),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository: format!("{registry}/{path}"),
            version: version.to_owned(),
        })
    }

    /// Path and query of the request that pushes it.
    pub fn push_path(&self) -> String {
        let tag = utf8_percent_encode(&self.version, QUERY);
        format!("/images/{}/push?tag={tag}", self.repository)
    }

    /// Path and query of the request that pulls it.
    pub fn pull_path(&self, platform: Option<&str>) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, QUERY).to_string();
        let mut path = format!(
            "/images/create?fromImage={}&tag={}",
            encoded(&self.repository),
            encoded(&self.version)
        );
        if let Some(platform) = platform {
            path.push_str("&platform=");
            path.push_str(&encoded(platform));
        }
        path
    }
}

/// Who is told how far a pull is.
#[async_trait]
pub trait Progress: Send {
    /// Bytes that are there and bytes there will be, as far as they are known.
    async fn report(&mut self, current: u64, total: u64);
}

/// Pulls an image, for as long as the engine lives.
pub async fn pull(
    engine: &Engine,
    credentials: &dyn RegistryCredentials,
    image: &ImageName,
    platform: Option<&str>,
    progress: &mut dyn Progress,
) -> Result<(), EngineError> {
    let credential = credentials.credentials(&image.registry).await;
    let credential = credential.map_err(|text| EngineError::Credentials { text })?;
    let request = Request::new("POST", image.pull_path(platform))
        .with_header("x-registry-auth", auth::header(&credential, &image.registry));
    let heard = Heard::default();
    let pulling = async {
        let answer = engine.open_stream(&request).await?;
        follow(Messages::new(answer, engine.url(), &heard), progress).await
    };
    while_alive(engine, || heard.times(), pulling).await
}

/// Reads the messages of a pull to their end.
async fn follow(
    mut messages: Messages<impl AsyncRead + Unpin>,
    progress: &mut dyn Progress,
) -> Result<(), EngineError> {
    let mut layers = Layers::default();
    while let Some(message) = messages.next().await? {
        if let Some(message) = message.failure() {
            return Err(EngineError::Pull { message });
        }
        if layers.take(&message) {
            let (current, total) = layers.sum();
            progress.report(current, total).await;
        }
    }
    Ok(())
}

/// Bytes of each layer: there, and there will be.
#[derive(Default)]
struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    /// Whether the message changed anything.
    fn take(&mut self, message: &Message) -> bool {
        let known = self.0.contains_key(&message.id);
        if message.id.is_empty() || (!known && self.0.len() >= LAYERS) {
            return false;
        }
        let detail = &message.progress_detail;
        match message.status.as_str() {
            "Downloading" => {
                let layer = self.0.entry(message.id.clone()).or_default();
                let total = layer.1.max(detail.total).max(detail.current);
                std::mem::replace(layer, (detail.current, total)) != *layer
            }
            "Verifying Checksum" | "Download complete" | "Extracting" | "Pull complete" => {
                match self.0.get_mut(&message.id) {
                    Some(layer) => std::mem::replace(&mut layer.0, layer.1) != layer.1,
                    None => false,
                }
            }
            _ => false,
        }
    }

    fn sum(&self) -> (u64, u64) {
        self.0.values().fold((0, 0), |sum, layer| {
            (sum.0.saturating_add(layer.0), sum.1.saturating_add(layer.1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(reference: &str) -> String {
        let name = ImageName::parse(reference).unwrap();
        format!("{} {} {}", name.registry, name.repository, name.version)
    }

    #[test]
    fn names_are_spelled_out() {
        for (reference, spelled) in [
            ("busybox", "docker.io docker.io/library/busybox latest"),
            (
                "moby/buildkit:buildx-stable-1",
                "docker.io docker.io/moby/buildkit buildx-stable-1",
            ),
            ("index.docker.io/a/b", "docker.io docker.io/a/b latest"),
            ("r:5000/a", "r:5000 r:5000/a latest"),
            ("localhost/a/b:1", "localhost localhost/a/b 1"),
            ("r.io/a:1@sha256:00", "r.io r.io/a sha256:00"),
            ("[::1]:5000/a", "[::1]:5000 [::1]:5000/a latest"),
        ] {
            assert_eq!(name(reference), spelled);
        }
        for bad in [
            "",
            "A",
            "a b",
            "r.io/",
            "a:",
            "a@",
            "a//b",
            "a?x=1",
            "a:1\n",
            "r.io?x=1#/a",
            "r.io%2f/a",
            "../a",
            "r.io/../a",
        ] {
            let error = ImageName::parse(bad).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid reference format: {bad:?}"));
        }
    }

    #[test]
    fn a_request_names_the_whole_repository() {
        let image = ImageName::parse("r:5000/a@sha256:00").unwrap();
        assert_eq!(
            image.pull_path(Some("linux/arm64")),
            "/images/create?fromImage=r%3A5000%2Fa&tag=sha256%3A00&platform=linux%2Farm64"
        );
    }

    #[async_trait]
    impl Progress for Vec<(u64, u64)> {
        async fn report(&mut self, current: u64, total: u64) {
            self.push((current, total));
        }
    }

    async fn followed(messages: &str) -> (Result<(), EngineError>, Vec<(u64, u64)>) {
        let mut told = Vec::new();
        let messages = Messages::new(messages.as_bytes(), "unix:///s", &Heard::default());
        let outcome = follow(messages, &mut told).await;
        (outcome, told)
    }

    #[tokio::test]
    async fn bytes_are_summed_over_layers() {
        let messages = concat!(
            r#"{"status":"Pulling from a","id":"latest"}"#,
            "\r\n",
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"1"}"#,
            "\r\n",
            r#"{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"1"}"#,
            "\r\n",
            r#"{"status":"Downloading","progressDetail":{"current":5,"total":50},"id":"2"}"#,
            "\r\nno message\r\n",
            r#"{"status":"Download complete","progressDetail":{},"id":"1"}"#,
            "\r\n",
            r#"{"status":"Extracting","progressDetail":{"current":7,"total":100},"id":"1"}"#,
            "\r\n",
            r#"{"status":"Pull complete","progressDetail":{},"id":"2"}"#,
            "\r\n",
            r#"{"status":"Status: Downloaded newer image"}"#,
        );
        let (outcome, told) = followed(messages).await;
        outcome.unwrap();
        assert_eq!(told, [(10, 100), (15, 150), (105, 150), (150, 150)]);
    }

    #[tokio::test]
    async fn an_error_among_the_messages_is_the_pulls() {
        let (outcome, _) =
            followed(r#"{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}"#).await;
        assert_eq!(outcome.unwrap_err().to_string(), "manifest unknown");
    }
}
