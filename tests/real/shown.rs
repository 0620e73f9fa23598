//! How a real build is shown.

use bkhost_test_support::source::with_base;
use serde_json::Value;

use crate::harness::{Remote, context, unique};

fn steps(mark: &str) -> String {
    format!("RUN echo shown-{mark}; echo more; sleep 1.2; echo later\n")
}

#[test]
fn plain_is_a_log_of_numbered_steps() {
    let remote = Remote::new();
    let mark = unique();
    let folder = with_base(&remote.context, "source", &steps(&mark));
    let said = remote
        .build(&folder)
        .args(["--progress", "plain"])
        .run()
        .succeeds();
    let lines: Vec<&str> = said.stderr().lines().collect();
    assert_eq!(lines[0], "#0 building with \"b\" instance using remote driver");
    assert_eq!(lines[1], "");
    // Which one is first depends on what other builds do with the same steps.
    assert!(lines[2].starts_with("#1 ["), "{}", lines[2]);
    let loaded = |line: &&str| line.ends_with(" [internal] load build definition from Dockerfile");
    assert!(lines.iter().any(loaded), "{lines:#?}");
    let step = lines
        .iter()
        .find(|line| line.contains("] RUN echo shown-"))
        .unwrap();
    let number = step.split(' ').next().unwrap();
    let logged = lines
        .iter()
        .find(|line| line.ends_with(&format!(" shown-{mark}")))
        .unwrap();
    let mut words = logged.split(' ');
    assert_eq!(words.next(), Some(number));
    let seconds = words.next().unwrap();
    assert!(
        seconds.parse::<f64>().is_ok() && seconds.split('.').next_back().unwrap().len() == 3,
        "{logged}"
    );
    let done = lines
        .iter()
        .find(|line| line.starts_with(&format!("{number} DONE ")))
        .unwrap();
    assert!(done.ends_with('s'), "{done}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains(" transferring context: ") && line.ends_with(" done"))
    );
}

#[test]
fn rawjson_is_one_status_a_line() {
    let remote = Remote::new();
    let mark = unique();
    let folder = with_base(&remote.context, "source", &steps(&mark));
    let said = remote
        .build(&folder)
        .args(["--progress", "rawjson", "-o", "type=cacheonly"])
        .run()
        .succeeds();
    let lines: Vec<Value> = said
        .stderr()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let all = |kind: &str| -> Vec<&Value> {
        lines
            .iter()
            .filter_map(|line| line[kind].as_array())
            .flatten()
            .collect()
    };
    let vertexes = all("vertexes");
    let step = vertexes
        .iter()
        .find(|vertex| {
            vertex["name"]
                .as_str()
                .unwrap_or_default()
                .contains("RUN echo shown-")
        })
        .unwrap();
    assert!(step["digest"].as_str().unwrap().starts_with("sha256:"), "{step}");
    let ended = vertexes
        .iter()
        .any(|vertex| vertex["digest"] == step["digest"] && vertex["completed"].is_string());
    assert!(ended, "the step never ended: {vertexes:?}");
    let log = all("logs")
        .into_iter()
        .find(|log| log["vertex"] == step["digest"])
        .unwrap();
    assert!(log["data"].is_string() && log["stream"] == 1, "{log}");
    assert!(!all("statuses").is_empty());
}

#[test]
fn quiet_is_silent_and_a_failure_is_not() {
    let remote = Remote::new();
    let folder = with_base(&remote.context, "source", "RUN echo nothing to see\n");
    let said = remote
        .build(&folder)
        .args(["--progress", "quiet"])
        .run()
        .succeeds();
    assert_eq!(
        (said.stdout().as_str(), said.stderr()),
        (
            "\n",
            "WARNING: No output specified with remote driver. Build result will only remain in the build cache. To push result image into registry use --push or to load image into docker use --load\n"
        )
    );
    let folder = with_base(&remote.context, "failing", "RUN false\n");
    remote
        .build(&folder)
        .arg("--quiet")
        .run()
        .fails(1)
        .says("ERROR: failed to build");
}

#[test]
fn a_terminal_shows_running_steps_and_ends_with_all_of_them() {
    let remote = Remote::new();
    let mark = unique();
    let folder = with_base(&remote.context, "source", &steps(&mark));
    let mut terminal = remote.build(&folder).on_terminal(40, 100);
    terminal.until_shown(&format!("=> => # shown-{mark}"));
    let said = terminal.wait().succeeds();
    said.says("[+] Building ")
        .says(" FINISHED")
        .says("remote:b")
        .says("RUN echo shown-");
    terminal.is_sane();
}

#[test]
fn no_colour_is_shown_where_none_is_wanted() {
    let remote = Remote::new();
    let folder = with_base(&remote.context, "source", &steps(&unique()));
    let call = remote.build(&folder).env("NO_COLOR", "1");
    let mut terminal = call.on_terminal(40, 100);
    let said = terminal.wait().succeeds();
    // Colours, bold and faint all end in `m`; what moves the cursor does not.
    let colours = said.stderr().split("\x1b[").skip(1).filter(|rest| {
        let end = rest.find(|c: char| c.is_ascii_alphabetic());
        end.is_some_and(|end| &rest[end..=end] == "m" && !matches!(&rest[..end], "" | "0" | "2"))
    });
    assert_eq!(colours.count(), 0, "{:?}", said.stderr());
}

#[test]
fn booting_is_a_step_like_others() {
    let context = context();
    let root = format!("root={}", context.path().join("state").display());
    let create = [
        "create",
        "--driver",
        "process",
        "--name",
        "p",
        "--use",
        "--driver-opt",
        &root,
    ];
    context.bkhost(create).run().succeeds();
    let folder = with_base(&context, "source", "RUN echo booted\n");
    let said = context
        .bkhost(["build", "--progress", "plain"])
        .arg(&folder)
        .run()
        .succeeds();
    let lines: Vec<&str> = said.stderr().lines().collect();
    assert_eq!(lines[0], "#0 building with \"p\" instance using process driver");
    assert!(lines[2].starts_with("#1 [internal] booting"), "{}", lines[2]);
    assert!(lines.iter().any(|line| line.starts_with("#1 DONE ")));
    let again = context
        .bkhost(["build", "--progress", "plain"])
        .arg(&folder)
        .run()
        .succeeds();
    again.says_no("booting");
    context.bkhost(["rm", "p"]).run().succeeds();
}

#[test]
fn the_environment_chooses_the_display_where_nothing_else_does() {
    let remote = Remote::new();
    let folder = with_base(&remote.context, "source", "RUN echo chosen\n");
    let build = || remote.build(&folder).args(["-o", "type=cacheonly"]);
    let raw = build().env("BUILDKIT_PROGRESS", "rawjson").run().succeeds();
    assert!(raw.stderr().starts_with('{'), "{}", raw.stderr());
    let typed = build()
        .args(["--progress", "plain"])
        .env("BUILDKIT_PROGRESS", "rawjson");
    assert!(typed.run().succeeds().stderr().starts_with("#0 "));
    build()
        .args(["--progress", "tty"])
        .run()
        .fails(1)
        .says("failed to get console");
}

#[test]
fn a_failed_build_gives_the_terminal_back() {
    let remote = Remote::new();
    let mark = unique();
    let folder = with_base(
        &remote.context,
        "source",
        &format!("RUN echo going-{mark}; sleep 0.5; exit 7\n"),
    );
    let mut terminal = remote.build(&folder).on_terminal(30, 100);
    let failed = terminal.wait().fails(1);
    failed.says("exit code: 7").says(">>> RUN echo going-");
    terminal.is_sane();
}

#[test]
fn a_reader_that_goes_away_stops_nothing() {
    let remote = Remote::new();
    let folder = with_base(
        &remote.context,
        "source",
        &format!("RUN seq 1 200000; echo {}\n", unique()),
    );
    let script =
        "bkhost=$1; folder=$2; { \"$bkhost\" build -o out \"$folder\" 2>&1; echo $? > code; } | head -n 3";
    let program = env!("CARGO_BIN_EXE_bkhost");
    let call = remote
        .context
        .call("sh", ["-c", script, "sh", program])
        .arg(&folder);
    let said = call.run().succeeds();
    assert_eq!(said.stdout().lines().count(), 3);
    assert_eq!(remote.context.read("code"), "0\n");
    assert!(remote.context.work().join("out/bin/busybox").exists());
}

#[test]
fn warnings_are_summed_up_and_coloured_on_a_terminal_alone() {
    let remote = Remote::new();
    let folder = with_base(&remote.context, "source", "MAINTAINER nobody\n");
    let plain = remote.build(&folder).run().succeeds();
    plain
        .says("\n 1 warning found")
        .says(" - MaintainerDeprecated: ")
        .says_no("\u{1b}[");
    let shown = |variables: &[(&str, &str)]| {
        let call = remote.build(&folder).args(["--progress", "plain"]);
        let call = variables
            .iter()
            .fold(call, |call, (name, value)| call.env(name, value));
        let mut terminal = call.on_terminal(30, 120);
        terminal.wait().succeeds();
        terminal.screen()
    };
    let coloured = shown(&[("TERM", "xterm")]);
    assert!(coloured.contains("\u{1b}[33m1 warning found"), "{coloured}");
    for variables in [&[("TERM", "xterm"), ("NO_COLOR", "1")][..], &[("TERM", "dumb")]] {
        let plain = shown(variables);
        assert!(
            plain.contains("\n 1 warning found") && !plain.contains("\u{1b}["),
            "{plain}"
        );
    }
}

#[test]
fn a_dumb_terminal_gets_the_plain_display() {
    let remote = Remote::new();
    let folder = with_base(&remote.context, "source", "RUN echo seen\n");
    let mut terminal = remote.build(&folder).env("TERM", "dumb").on_terminal(30, 120);
    terminal.wait().succeeds();
    let screen = terminal.screen();
    assert!(
        screen.contains("#0 building with ") && !screen.contains("\u{1b}["),
        "{screen}"
    );
}
