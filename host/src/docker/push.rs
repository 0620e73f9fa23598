//! Pushing an image out of an engine that keeps it, with the user's credentials.

use tokio::io::AsyncRead;

use super::auth;
use super::error::EngineError;
use super::load::layers::Layers;
use super::messages::Messages;
use super::pull::ImageName;
use super::transport::{Engine, Request};
use super::watch::{Heard, while_alive};
use crate::buildkit::spec::RegistryCredentials;
use crate::progress::step::Step;

/// Pushes the image that the engine has under `name`, for as long as the engine lives. Gives the digest under which the registry has it, if the engine
/// tells.
pub async fn push(
    engine: &Engine,
    credentials: &dyn RegistryCredentials,
    name: &str,
    step: &Step,
) -> Result<Option<String>, EngineError> {
    let image = ImageName::parse(name)?;
    let credential = credentials.credentials(&image.registry).await;
    let credential = credential.map_err(|text| EngineError::Credentials { text })?;
    let request = Request::new("POST", image.push_path())
        .with_header("x-registry-auth", auth::header(&credential, &image.registry));
    let heard = Heard::default();
    let pushing = async {
        let answer = engine.open_stream(&request).await?;
        follow(Messages::new(answer, engine.url(), &heard), name, step).await
    };
    while_alive(engine, || heard.times(), pushing).await
}

/// Reads the messages of a push to their end.
async fn follow(
    mut messages: Messages<impl AsyncRead + Unpin>,
    name: &str,
    step: &Step,
) -> Result<Option<String>, EngineError> {
    let mut layers = Layers::new(step, "pushing layer");
    let mut digest = None;
    while let Some(message) = messages.next().await? {
        if let Some(message) = message.failure() {
            let name = name.to_owned();
            return Err(EngineError::Push { name, message });
        }
        layers.show(&message).await;
        digest = message.digest().or(digest);
    }
    Ok(digest)
}
