//! The same for a user who is not root.

use std::fs;
use std::time::Duration;

use bkhost_test_support::source::{bare, with_base};
use bkhost_test_support::user::OrdinaryUser;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{build, context_of, eventually, live};
use crate::process::{daemons, kill_in_a_build};

/// A step that leaves files of a mapped user in the cache, in a folder that even this user cannot write to.
const MAPPED: &str =
    "RUN mkdir -p /deep/er && touch /deep/er/x && chown -R 1000:1000 /deep && chmod 0500 /deep/er\n";

#[test]
fn a_builder_of_an_ordinary_user_lives_its_whole_life_and_leaves_nothing() {
    let user = OrdinaryUser::new();
    let context = context_of(&user);
    live(&context, &["--driver", "process"]);
}

#[test]
fn a_daemon_of_an_ordinary_user_is_not_roots() {
    let user = OrdinaryUser::new();
    let context = context_of(&user);
    let create = [
        "create",
        "--driver",
        "process",
        "--name",
        "b",
        "--use",
        "--bootstrap",
    ];
    context.bkhost(create).run().succeeds();
    let running = context.running();
    assert!(
        running.iter().any(|(_, line)| line.contains("rootlesskit")),
        "{running:?}"
    );
    for (id, line) in running {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let uid = status.lines().find(|line| line.starts_with("Uid:"));
        assert!(
            uid.is_none_or(|uid| uid.split_whitespace().nth(1) != Some("0")),
            "root runs {line}"
        );
    }
    context.bkhost(["rm", "b"]).run().succeeds();
}

#[test]
fn sixteen_first_builds_of_a_user_without_a_login_share_one_daemon() {
    let user = OrdinaryUser::new();
    let mut context = context_of(&user);
    // What is left to a timer or in a container.
    for name in [
        "USER",
        "LOGNAME",
        "XDG_RUNTIME_DIR",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
    ] {
        context.unset(name);
    }
    let folder = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    let created = context.bkhost(["create", "--driver", "process", "--name", "b", "--use"]);
    created.run().succeeds();
    let started: Vec<_> = (0..16)
        .map(|_| build(&context, &folder).limit(Duration::from_secs(120)).start())
        .collect();
    for running in started {
        running.wait().succeeds();
    }
    let daemons = daemons(&context);
    assert_eq!(daemons.len(), 1, "{:?}", context.running());
    context.bkhost(["rm", "b"]).run().succeeds();
    eventually("the keeper and the daemon end", Duration::from_secs(20), || {
        context.running().is_empty()
    });
}

#[test]
fn a_daemon_killed_in_a_build_ends_it_with_its_signal_and_last_words() {
    let user = OrdinaryUser::new();
    let context = context_of(&user);
    let create = ["create", "--driver", "process", "--name", "b", "--use"];
    context.bkhost(create).run().succeeds();
    kill_in_a_build(&context);
}

#[test]
fn what_a_killed_daemon_left_of_mapped_users_is_removed() {
    let user = OrdinaryUser::new();
    let context = context_of(&user);
    let create = ["create", "--driver", "process", "--name", "b", "--use"];
    context.bkhost(create).run().succeeds();
    let folder = with_base(&context, "source", MAPPED);
    build(&context, &folder).run().succeeds();
    let running = context.running();
    let daemons = running
        .iter()
        .filter(|(_, line)| line.contains("rootlesskit") && !line.contains("__keeper"));
    for (id, _) in daemons {
        // One of them may have ended with another.
        let _ = kill_process(Pid::from_raw(*id as i32).unwrap(), Signal::KILL);
    }
    context.bkhost(["rm", "b"]).run().succeeds();
    eventually("the keeper ends", Duration::from_secs(20), || {
        context.running().is_empty()
    });
    assert!(!context.home().join(".local/share/bkhost").exists());
}
