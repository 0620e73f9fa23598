//! An engine on the network of a registry.

use bkhost_test_support::docker::{BUILDKIT_IMAGE, DockerEngine, Network, Release};
use bkhost_test_support::provided;
use bkhost_test_support::registry::Registry;

use super::{context_at, docker};

#[test]
fn it_pushes_there_and_pulls_from_there_and_from_nowhere_else() {
    let registry = Registry::start();
    let image = registry.reference("busybox:1");
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::start_on(release, Network::Host);
        let context = context_at(&engine);
        docker(&context, ["tag", "busybox", &image]);
        docker(&context, ["push", "--quiet", &image]);
        assert!(registry.manifest("busybox", "1").body["layers"].is_array());
        docker(&context, ["rmi", &image]);
        let run = ["run", "--rm", "--pull=always", "--network=host", &image];
        let said = context.call(provided::docker(), run).args(["echo", "pulled"]);
        said.run().succeeds().prints("pulled");
        let elsewhere = context.call(provided::docker(), ["pull", BUILDKIT_IMAGE]);
        elsewhere.run().fails(1).says("127.0.0.1:1");
    }
}
