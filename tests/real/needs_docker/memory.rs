//! A step that ends with exit code 137 while its daemon lives: out of memory, or killed by somebody else.

use bkhost_test_support::call::Said;
use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::source::with_base;

use super::context_at;
use crate::harness::{build, unique};

/// Uses more memory than the builder has.
const EAT: &str = "head -c 400m /dev/zero | tail";
/// A child, because the first process of a step cannot kill itself.
const DIE: &str = "sh -c 'kill -9 $$' || exit $?";

/// What is said when a step with this command is killed.
fn killed(context: &TestContext, command: &str) -> Said {
    let step = format!("RUN --network=none echo {} && {command}\n", unique());
    let failed = build(context, &with_base(context, "source", &step))
        .run()
        .fails(1);
    failed.says("did not complete successfully: exit code: 137\n")
}

#[test]
fn a_killed_step_is_said_to_be_out_of_memory_only_with_evidence() {
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::shared(release);
        let context = context_at(&engine);
        let builder = format!("small-{}", unique());
        let create = ["create", "--driver", "docker-container", "--use"];
        let options = ["--driver-opt", "memory=96m", "--name", &builder];
        context.bkhost(create).args(options).run().succeeds();
        let claim = format!(
            "hint: Probably out of memory: while the step ran, the kernel killed a process in the container \
             `buildx_buildkit_{builder}0`, whose limit is 96 MiB\n"
        );
        let way_out = "hint: Raise the driver option `memory`, or let fewer steps run at once";
        killed(&context, DIE).says_no("memory");
        killed(&context, EAT).says(&claim).says(way_out);
        // The container is marked as one that ran out of memory from now on: that says nothing of other steps.
        killed(&context, DIE).says_no("memory");
        killed(&context, EAT).says(&claim);
        context.bkhost(["rm", &builder]).run().succeeds();
    }
}
