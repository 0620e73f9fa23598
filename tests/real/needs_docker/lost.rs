//! Builds whose daemon goes away: they end soon, with the reason, and the next one works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bkhost_test_support::call::{Call, Running, Said};
use bkhost_test_support::docker::DockerEngine;
use bkhost_test_support::provided;

use super::own::{Own, RELEASES};

/// How soon a build ends whose daemon is gone.
const SOON: Duration = Duration::from_secs(30);

/// A way to lose a daemon.
struct Loss {
    /// The docker command, before the container's name.
    docker: &'static [&'static str],
    /// What follows the name.
    rest: &'static [&'static str],
    /// The reason and what else is said.
    says: &'static [&'static str],
}

const LAST_LINES: &str = "log:\ntime=";

const LOSSES: [Loss; 6] = [
    Loss {
        docker: &["exec"],
        rest: &["sh", "-c", "kill -9 $(pidof buildkitd)"],
        says: &[
            "(killed)",
            "killed by SIGKILL",
            "exit-code: 137",
            LAST_LINES,
            "running server on",
        ],
    },
    Loss {
        docker: &["kill"],
        rest: &[],
        says: &[
            "(killed)",
            "killed by SIGKILL",
            "exit-code: 137",
            "signal: 9",
            LAST_LINES,
        ],
    },
    Loss {
        docker: &["stop", "-t", "1"],
        rest: &[],
        says: &[
            "(stopped)",
            "exit-code: 137",
            "stopping server",
            "Somebody stopped the builder",
        ],
    },
    Loss {
        docker: &["exec"],
        rest: &[
            "sh",
            "-c",
            "for i in 1 2 3 4; do kill -INT $(pidof buildkitd); sleep 0.2; done",
        ],
        says: &["(exited)", "exited with code 1", "exit-code: 1\n"],
    },
    // The kernel takes the daemon, and not what asks for the memory.
    Loss {
        docker: &["exec"],
        rest: &[
            "sh",
            "-c",
            "echo 1000 > /proc/$(pidof buildkitd)/oom_score_adj; head -c 400m /dev/zero | tail",
        ],
        says: &[
            "(oom-killed)",
            "its limit is 200 MiB",
            "exit-code: 137",
            "driver option `memory`",
        ],
    },
    Loss {
        docker: &["rm", "--force"],
        rest: &[],
        says: &["(removed)", "was removed"],
    },
];

/// A build by `builder` that has begun and does not end.
fn begun(own: &Own, builder: &str) -> Running {
    let build = own.build(&own.endless()).args(["--builder", builder]);
    let build = build.args(["--output", "type=local,dest=never"]);
    let mut running = build.limit(Duration::from_secs(120)).start();
    running.until_said("begun");
    running
}

/// The end of a build after `lose`.
fn ended(running: Running, lose: impl FnOnce()) -> Said {
    let begin = Instant::now();
    lose();
    let said = running.wait().fails(1);
    assert!(begin.elapsed() < SOON, "{:?}: {}", begin.elapsed(), said.stderr());
    said
}

/// The next build, which is an ordinary one.
fn next(own: &Own, builder: &str) -> Call {
    let build = own.build(&own.quick()).args(["--builder", builder]);
    build.args(["--output", "type=local,dest=next"])
}

#[test]
fn a_build_whose_container_goes_away_says_why_and_the_next_one_succeeds() {
    for release in RELEASES {
        let own = Own::new(release);
        own.create(&["--driver-opt", "memory=200m,memory-swap=200m"]);
        for loss in LOSSES {
            let running = begun(&own, "b");
            let said = ended(running, || {
                let call = own.context.call(provided::docker(), loss.docker);
                // A command in a container that ends with it has no good end of its own.
                let _ = call.arg(own.container()).args(loss.rest).run().code();
            });
            let words = format!("the daemon of node `{}` was lost", own.node);
            let said = said.says(&words);
            loss.says.iter().fold(said, |said, text| said.says(text));
            next(&own, "b").run().succeeds().says("finished");
        }
        assert!(own.has_volume());
    }
}

#[test]
fn a_build_whose_engine_is_restarted_or_killed_says_so() {
    for release in RELEASES {
        let mut own = Own::on(Arc::new(DockerEngine::start(release)));
        own.create(&[]);
        let builders = ["b", "default"];
        let [contained, inner] = builders.map(|builder| begun(&own, builder));
        let begin = Instant::now();
        Arc::get_mut(&mut own.engine).unwrap().restart();
        // The engine first stops its containers, and is gone or back again when it is asked.
        for (running, words) in [
            (
                contained,
                ["(stopped)", "(engine-gone)", "(exited)", "(killed)"].as_slice(),
            ),
            (inner, ["(engine-gone)", "(tunnel-cut)"].as_slice()),
        ] {
            let said = running.wait().fails(1);
            assert!(
                words.iter().any(|word| said.stderr().contains(word)),
                "{}",
                said.stderr()
            );
        }
        assert!(
            begin.elapsed() < SOON + Duration::from_secs(15),
            "{:?}",
            begin.elapsed()
        );
        for builder in builders {
            next(&own, builder).run().succeeds().says("finished");
        }

        let running = builders.map(|builder| begun(&own, builder));
        let begin = Instant::now();
        Arc::get_mut(&mut own.engine).unwrap().kill();
        for running in running {
            let said = running.wait().fails(1);
            said.says("(engine-gone)").says("does not answer any more");
        }
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        let gone = "Is the docker daemon running?";
        for builder in builders {
            next(&own, builder).run().fails(1).says(gone).says("hint: ");
        }
        for listing in [["ls"].as_slice(), &["inspect", "b"]] {
            let shown = own.context.bkhost(listing).run().succeeds();
            let all = format!("{}{}", shown.stdout(), shown.stderr());
            assert!(all.contains(gone), "{all}");
        }
    }
}
