//! The engines that a build has to do with besides its daemon: those that results are loaded into, found and asked before
//! anything is built, and the one that pushes what its own daemon has built.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;

use super::super::super::build::request::BuildRequest;
use super::super::super::build::solve_spec::NodeFacts;
use super::super::super::build::solve_spec::loading::{self, LoadTarget, Loads};
use super::{ChosenBuilder, Ground, failure};
use crate::acquire::AcquireError;
use crate::buildkit::spec::{Exporter, Receiver};
use crate::docker::error::EngineError;
use crate::docker::load::{self, Loader};
use crate::docker::push;
use crate::docker::transport::Engine;
use crate::error::{CommandError, Result};
use crate::progress::event::Sink;
use crate::progress::step::Step;

/// A build's way to engines.
pub struct BuildEngines<'a> {
    /// What the build works with.
    pub ground: &'a Ground<'a>,
    /// Its builder.
    pub builder: &'a ChosenBuilder,
    /// Name of its node.
    pub node: &'a str,
    /// Where steps are shown.
    pub sink: &'a Sink,
}

impl BuildEngines<'_> {
    /// The engines that results of `request` are loaded into, each asked what it takes.
    pub async fn loads(&self, request: &BuildRequest, facts: &NodeFacts<'_>) -> Result<Loads> {
        let contexts = loading::contexts(request, facts);
        let is_asked_for = !request.outputs.is_empty();
        let target = |context| self.target(context, is_asked_for, facts);
        let found = contexts.into_iter().map(target);
        let asked = self.ground.cancel.run_until_cancelled(try_join_all(found)).await;
        let Some(asked) = asked else {
            return Err(failure::of_acquire(AcquireError::Cancelled));
        };
        Ok(asked?.into_iter().collect())
    }

    async fn target(
        &self,
        context: String,
        is_asked_for: bool,
        facts: &NodeFacts<'_>,
    ) -> Result<(String, LoadTarget)> {
        match self.ask(&context, facts).await {
            Ok(target) => Ok((context, target)),
            Err(error) => {
                let error = CommandError::from(error);
                Err(match way_around(&context, is_asked_for) {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                })
            }
        }
    }

    async fn ask(&self, context: &str, facts: &NodeFacts<'_>) -> Result<LoadTarget, EngineError> {
        let own = facts.engine_exporter().is_some();
        if own && context.is_empty() {
            return Ok(LoadTarget::Own);
        }
        let engine = self.ground.engines.engine(context)?;
        if own && self.own()?.url() == engine.url() {
            return Ok(LoadTarget::Own);
        }
        Ok(LoadTarget::Other {
            store: load::image_store(&engine).await?,
            receiver: Receiver::new(Loader::new(engine, self.sink.clone())),
        })
    }

    /// The engine that the node is part of.
    fn own(&self) -> Result<Arc<Engine>, EngineError> {
        let node = self.builder.nodes.iter().find(|node| node.node == self.node);
        let endpoint = node.map_or("", |node| node.endpoint.as_str());
        self.ground.engines.engine(endpoint)
    }

    /// Lets the engine push what its daemon has built for it, and enters the digest that the registry has for it.
    pub async fn push(&self, exporters: &[Exporter], response: &mut BTreeMap<String, String>) -> Result<()> {
        let pushed = exporters.iter().filter(|exporter| {
            let push = exporter.attributes.get("push");
            super::value::is_true(push)
        });
        let names = pushed.filter_map(|exporter| exporter.attributes.get("name"));
        let names: Vec<&str> = names.flat_map(|names| names.split(',')).collect();
        let pushing = async {
            let engine = self.own()?;
            let mut digest = None;
            for name in names {
                let pushed = self.push_one(&engine, name).await?;
                digest = digest.or(pushed);
            }
            Ok::<_, CommandError>(digest)
        };
        let pushed = self.ground.cancel.run_until_cancelled(pushing).await;
        let Some(pushed) = pushed else {
            return Err(failure::of_acquire(AcquireError::Cancelled));
        };
        if let Some(digest) = pushed? {
            enter(response, digest);
        }
        Ok(())
    }

    async fn push_one(&self, engine: &Engine, name: &str) -> Result<Option<String>> {
        let step = Step::start(self.sink, format!("pushing {name} with docker")).await;
        match push::push(engine, self.ground.registry.as_ref(), name, &step).await {
            Ok(digest) => {
                step.finish().await;
                Ok(digest)
            }
            Err(error) => {
                let error = CommandError::from(error);
                step.fail(error.line()).await;
                Err(error)
            }
        }
    }
}

/// What else the user may do when the engine of `context` is out of reach: nothing, if it was named.
fn way_around(context: &str, is_asked_for: bool) -> Option<&'static str> {
    const ASKED_FOR: &str = "`--load` is for the engine of the active docker context; `--output type=docker,context=NAME` names another one";
    const DEFAULT: &str = "This builder loads what it builds into the engine of the active docker context unless `BUILDX_NO_DEFAULT_LOAD=1` is set or there is another output, such as `--push` or `--output type=cacheonly`";
    match (context, is_asked_for) {
        ("", true) => Some(ASKED_FOR),
        ("", false) => Some(DEFAULT),
        _ => None,
    }
}

/// The digest that others find the image by; what the engine calls it stays as the configuration's.
fn enter(response: &mut BTreeMap<String, String>, digest: String) {
    const IMAGE: &str = "containerimage.digest";
    const CONFIG: &str = "containerimage.config.digest";
    if let Some(old) = response.insert(IMAGE.to_owned(), digest) {
        response.entry(CONFIG.to_owned()).or_insert(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_way_around_an_engine_that_nobody_named() {
        assert!(way_around("", true).unwrap().contains("`--load` is for"));
        assert!(
            way_around("", false)
                .unwrap()
                .contains("`BUILDX_NO_DEFAULT_LOAD=1`")
        );
        assert_eq!(way_around("named", true), None);
    }
}
