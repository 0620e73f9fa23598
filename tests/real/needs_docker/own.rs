//! A builder in a container that one test has for itself, on an engine that others use as well.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use bkhost_test_support::call::Call;
use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::provided;
use bkhost_test_support::source::with_base;
use serde_json::Value;

use super::context_at;
use crate::harness::{build, unique};

pub const RELEASES: [Release; 2] = [Release::Current, Release::Old];

/// An environment whose engine is `engine`, with room for a builder `b` of the driver `docker-container`. Container and
/// volume go on drop.
pub struct Own {
    pub engine: Arc<DockerEngine>,
    pub context: TestContext,
    /// Name of the builder's only node, which nobody else uses.
    pub node: String,
}

impl Own {
    /// Nothing is created yet.
    pub fn new(release: Release) -> Self {
        Self::on(DockerEngine::shared(release))
    }

    pub fn on(engine: Arc<DockerEngine>) -> Self {
        Self {
            context: context_at(&engine),
            engine,
            node: format!("n{}", unique()),
        }
    }

    /// Creates the builder and selects it. `more` follows.
    pub fn create(&self, more: &[&str]) {
        let create = ["create", "--driver", "docker-container", "--name", "b", "--use"];
        let create = self.context.bkhost(create).args(["--node", &self.node]);
        assert_eq!(create.args(more).run().succeeds().stdout(), "b\n");
    }

    /// Boots it.
    pub fn boot(&self) {
        let boot = self.context.bkhost(["inspect", "--bootstrap", "b"]);
        boot.run().succeeds().prints("running");
    }

    /// Builds a folder; more options may follow.
    pub fn build(&self, folder: &std::path::Path) -> Call {
        build(&self.context, folder)
    }

    /// Something to build that is in no cache and prints `finished`.
    pub fn quick(&self) -> PathBuf {
        let step = format!("RUN echo finish'ed' {}\n", unique());
        with_base(&self.context, "quick", &step)
    }

    /// Something to build that prints `begun` and does not end.
    pub fn endless(&self) -> PathBuf {
        let step = format!("RUN echo be'gun' {}; sleep 1000\n", unique());
        with_base(&self.context, "endless", &step)
    }

    pub fn container(&self) -> String {
        format!("buildx_buildkit_{}", self.node)
    }

    pub fn volume(&self) -> String {
        format!("{}_state", self.container())
    }

    /// State of the container, if there is one.
    pub fn state(&self) -> Option<String> {
        self.engine.container(&self.container())
    }

    /// The container as the engine describes it.
    pub fn inspect(&self) -> Value {
        self.engine.get(&format!("/containers/{}/json", self.container()))
    }

    pub fn id(&self) -> String {
        self.inspect()["Id"].as_str().unwrap().to_owned()
    }

    pub fn has_volume(&self) -> bool {
        let volumes = self.engine.get("/volumes");
        let volumes = volumes["Volumes"].as_array().cloned().unwrap_or_default();
        volumes.iter().any(|volume| volume["Name"] == self.volume())
    }

    /// Runs the docker command to a good end. What follows its arguments is the container's name.
    pub fn docker<const N: usize>(&self, arguments: [&str; N]) -> String {
        let call = self.context.call(provided::docker(), arguments);
        call.arg(self.container()).run().succeeds().stdout()
    }

    /// Runs a line of shell in the container.
    pub fn inside(&self, line: &str) -> String {
        let call = self.context.call(provided::docker(), ["exec"]);
        let call = call.arg(self.container()).args(["sh", "-c", line]);
        call.run().succeeds().stdout()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // The engine goes on; what a test leaves in it would take room from the others. The test's own environment may lead
        // elsewhere by now.
        let context = context_at(&self.engine);
        for (removal, name) in [
            (["rm", "--force", "--volumes"].as_slice(), self.container()),
            (["volume", "rm", "--force"].as_slice(), self.volume()),
        ] {
            let call = || context.call(provided::docker(), removal).arg(name).run().code();
            // A call that takes too long panics: in a test that fails already, that would end all others.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(call));
        }
    }
}
