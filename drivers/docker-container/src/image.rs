//! The image that the container is made from.

use bkhost_driver::{Error, ErrorKind, Result, Step, engine};

use crate::options::Settings;

/// Where images are signed by a key that policies know.
const SIGNED: [&str; 3] = [
    "moby/buildkit",
    "docker.io/moby/buildkit",
    "index.docker.io/moby/buildkit",
];

/// The image to use, and why it is not fresh if it is not.
#[derive(Debug)]
pub struct Image {
    /// The reference to make containers with.
    pub reference: String,
    /// The pull failed; the engine may have the image all the same.
    pub pull_error: Option<Error>,
}

impl Image {
    /// Why there is no image to make a container from; `refusal` is what the engine says of it.
    pub fn missing(&self, refusal: Error) -> Error {
        let Some(pull) = &self.pull_error else {
            return refusal;
        };
        let name = &self.reference;
        let words = format!(
            "The image `{name}` cannot be pulled, and the engine has none of its own: {}",
            pull.message()
        );
        let missing = Error::new(pull.kind(), words);
        let missing = match pull.hint() {
            Some(hint) => missing.with_hint(hint),
            None => missing.with_hint(format!(
                "Name another image with the driver option `image`, or bring this one into the engine (`docker pull {name}`, `docker load`)"
            )),
        };
        let details = pull.details().iter();
        details.fold(missing, |missing, (key, value)| missing.with_detail(key, value))
    }
}

/// Pulls the image. A failure is told later, if the engine does not have the image either.
pub fn pull(settings: &Settings, step: &Step<'_>) -> Result<Image> {
    let wanted = &settings.image;
    let part = step.begin(&format!("pulling image {wanted}"));
    match engine::pull(wanted, None, is_to_verify(settings), &part) {
        // Only a digest says more than what was asked for, however the name is spelled.
        Ok(pulled) => Ok(Image {
            reference: if pulled.contains('@') {
                pulled
            } else {
                wanted.clone()
            },
            pull_error: None,
        }),
        Err(error) if ends_at_once(&error) => {
            part.fail(error.message());
            Err(error)
        }
        Err(error) => {
            part.message(error.message());
            part.message(&format!("using local image {wanted}"));
            Ok(Image {
                reference: wanted.clone(),
                pull_error: Some(error),
            })
        }
    }
}

/// No image of the engine's own helps: the user gave up, the name is none, the engine hangs or the time is over, or what
/// came is not what was signed.
fn ends_at_once(error: &Error) -> bool {
    let hopeless = matches!(
        error.kind(),
        ErrorKind::Cancelled | ErrorKind::InvalidConfig | ErrorKind::TimedOut
    );
    hopeless || error.message().contains("failed to verify image")
}

/// Only a tag of the project's own images can be looked up among the signatures; a digest alone says already what it is.
fn is_to_verify(settings: &Settings) -> bool {
    let (name, digest) = match settings.image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (settings.image.as_str(), false),
    };
    let slash = name.rfind('/').unwrap_or_default();
    let (repository, tag) = match name.rfind(':').filter(|colon| *colon > slash) {
        Some(colon) => (name.get(..colon).unwrap_or_default(), true),
        None => (name, false),
    };
    let named = tag || !digest;
    !settings.allow_untrusted_image && named && SIGNED.contains(&repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_hangs_is_asked_for_nothing_more() {
        let fails = |kind: ErrorKind, words: &str| ends_at_once(&Error::new(kind, words));
        assert!(fails(ErrorKind::TimedOut, "The engine did not answer within 15s"));
        assert!(fails(ErrorKind::Unsupported, "failed to verify image a: no"));
        assert!(!fails(ErrorKind::Other, "i/o timeout"));
    }
}
