use super::*;
use crate::progress::event::{Group, Update, Vertex, Warning};
use crate::progress::sample::{at, log, logs, status, statuses, vertex, vertexes};
use crate::progress::trace::log::LogKeeping;

/// A text log with its trace and what it has written so far.
struct Shown {
    plain: Plain,
    trace: Trace,
    text: String,
}

impl Shown {
    fn new() -> Self {
        Self::with(Plain::new(None, None))
    }

    fn with(plain: Plain) -> Self {
        Self {
            plain,
            trace: Trace::new(LogKeeping::Plain),
            text: String::new(),
        }
    }

    fn update(&mut self, update: Update) -> &mut Self {
        self.trace.apply(update);
        self
    }

    /// Refreshes at a moment and returns only what that wrote.
    fn refresh(&mut self, milliseconds: i64) -> String {
        let out = self.plain.refresh(&mut self.trace, at(milliseconds));
        let out = String::from_utf8(out).unwrap();
        self.text.push_str(&out);
        out
    }

    fn finish(&mut self, milliseconds: i64) -> String {
        let out = self.plain.finish(&mut self.trace, at(milliseconds));
        let out = String::from_utf8(out).unwrap();
        self.text.push_str(&out);
        out
    }
}

fn run(digest: &str, start: i64, end: Option<i64>) -> Update {
    vertexes(vec![vertex(digest, &format!("step {digest}"), Some(start), end)])
}

fn failed(digest: &str, error: &str) -> Update {
    vertexes(vec![Vertex {
        error: error.into(),
        ..vertex(digest, &format!("step {digest}"), Some(0), Some(200))
    }])
}

#[test]
fn a_small_build() {
    let description = "building with \"b1\" instance using remote driver";
    let mut shown = Shown::with(Plain::new(Some(description.into()), None));
    assert_eq!(shown.refresh(0), "");
    let load = "[internal] load build definition from Dockerfile";
    shown.update(vertexes(vec![vertex("a", load, Some(0), None)]));
    shown.update(statuses(vec![Status {
        current: 282,
        total: 0,
        completed: Some(at(5)),
        ..status("a", "transferring dockerfile:", 0, 0)
    }]));
    shown.update(vertexes(vec![vertex("a", load, Some(0), Some(100))]));
    shown.refresh(150);
    let cached = Vertex {
        cached: true,
        ..vertex("b", "[base 1/2] FROM base", Some(110), Some(110))
    };
    let name = r#"[base 2/2] RUN ["/bin/busybox","sh","-c","…"]"#;
    shown.update(vertexes(vec![cached, vertex("c", name, Some(200), None)]));
    shown.update(logs(vec![log("c", "line 1\nerr\n", 321)]));
    shown.refresh(400);
    shown.update(vertexes(vec![vertex("c", name, Some(200), Some(700))]));
    shown.finish(800);
    assert_eq!(
        shown.text,
        "#0 building with \"b1\" instance using remote driver\n\
         \n\
         #1 [internal] load build definition from Dockerfile\n\
         #1 transferring dockerfile: 282B done\n\
         #1 DONE 0.1s\n\
         \n\
         #2 [base 1/2] FROM base\n\
         #2 CACHED\n\
         \n\
         #3 [base 2/2] RUN [\"/bin/busybox\",\"sh\",\"-c\",\"…\"]\n\
         #3 0.121 line 1\n\
         #3 0.121 err\n\
         #3 DONE 0.5s\n"
    );
}

#[test]
fn a_finished_vertex_interrupts_the_shown_one() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, None)).update(run("b", 0, None));
    assert_eq!(shown.refresh(100), "#1 step a\n");
    shown.update(logs(vec![log("a", "text\n", 150)]));
    assert_eq!(shown.refresh(200), "#1 0.150 text\n");
    shown.update(run("b", 0, Some(250)));
    // What is still running is shown again, so that a reader sees what the build waits for.
    assert_eq!(
        shown.refresh(300),
        "#1 ...\n\n#2 step b\n#2 DONE 0.2s\n\n#1 step a\n"
    );
}

#[test]
fn finished_vertexes_come_in_the_order_of_their_end() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, None));
    shown.refresh(100);
    shown
        .update(run("c", 0, Some(900)))
        .update(run("b", 0, Some(500)));
    shown.update(run("a", 0, Some(1000)));
    assert_eq!(
        shown.refresh(1000),
        "#1 DONE 1.0s\n\n#2 step b\n#2 DONE 0.5s\n\n#3 step c\n#3 DONE 0.9s\n"
    );
}

#[test]
fn a_turn_lasts_five_seconds_without_news_of_its_own() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, None));
    assert_eq!(shown.refresh(0), "#1 step a\n");
    shown.update(run("b", 0, None));
    assert_eq!(shown.refresh(100), "");
    for second in 1..=5 {
        shown.update(logs(vec![log("b", "tick\n", second * 1000)]));
        assert_eq!(shown.refresh(second * 1000), "", "after {second} s");
    }
    shown.update(logs(vec![log("b", "tick\n", 5500)]));
    let text = shown.refresh(5500);
    assert!(text.starts_with("#1 ...\n\n#2 step b\n#2 1.000 tick\n"), "{text}");
    assert!(text.ends_with("#2 5.500 tick\n"), "{text}");
}

#[test]
fn nobody_waits_longer_than_ten_seconds() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, None)).update(run("b", 0, None));
    shown.refresh(0);
    for tick in 1..=105 {
        let busy = (0..100).map(|_| log("a", "x\n", tick * 100)).collect();
        shown.update(logs(busy));
        shown.refresh(tick * 100);
    }
    let turn = shown.text.find("#2 step b").expect("its turn has come");
    assert!(shown.text[..turn].ends_with("#1 ...\n\n"));
    assert!(shown.text[..turn].contains("#1 9.90 x\n") || shown.text[..turn].contains("#1 9.900 x\n"));
}

#[test]
fn parts_are_repeated_only_when_they_have_moved() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, None));
    let mut at_bytes = |current: i64, milliseconds: i64| {
        shown.update(statuses(vec![status("a", "sha256:1", current, 1_000_000)]));
        shown.refresh(milliseconds)
    };
    assert_eq!(at_bytes(0, 5), "#1 step a\n#1 sha256:1 0B / 1.00MB\n");
    assert_eq!(at_bytes(49_999, 100), "");
    assert_eq!(at_bytes(50_000, 200), "#1 sha256:1 50.00kB / 1.00MB 0.2s\n");
    assert_eq!(at_bytes(60_000, 5100), "");
    assert_eq!(at_bytes(60_001, 5200), "#1 sha256:1 60.00kB / 1.00MB 5.2s\n");
    let done = Status {
        completed: Some(at(5300)),
        ..status("a", "sha256:1", 60_002, 1_000_000)
    };
    shown.update(statuses(vec![done]));
    assert_eq!(shown.refresh(5300), "#1 sha256:1 60.00kB / 1.00MB 5.3s done\n");
}

#[test]
fn a_partial_line_goes_on_without_prefix() {
    let mut shown = Shown::new();
    shown
        .update(run("a", 0, None))
        .update(logs(vec![log("a", "down", 100)]));
    assert_eq!(shown.refresh(100), "#1 step a\n#1 0.100 down");
    assert_eq!(shown.refresh(200), "");
    shown.update(logs(vec![log("a", "load", 300)]));
    assert_eq!(shown.refresh(300), "load");
    shown.update(logs(vec![log("a", "ed\nnext\n", 400)]));
    assert_eq!(shown.refresh(400), "ed\n#1 0.400 next\n");
}

#[test]
fn an_interrupted_partial_line_is_printed_whole_again() {
    let mut shown = Shown::new();
    shown
        .update(run("a", 0, None))
        .update(logs(vec![log("a", "down", 100)]));
    shown.refresh(100);
    shown.update(run("b", 0, Some(200)));
    assert_eq!(
        shown.refresh(200),
        "\n#1 ...\n\n#2 step b\n#2 DONE 0.2s\n\n#1 step a\n#1 0.100 down"
    );
    shown.update(logs(vec![log("a", "load\n", 300)]));
    shown.update(run("a", 0, Some(400)));
    assert_eq!(shown.finish(400), "load\n#1 DONE 0.4s\n");
}

#[test]
fn warnings_stand_below_their_vertex() {
    let mut shown = Shown::new();
    let warning = Warning {
        vertex: "a".into(),
        short: "JSONArgsRecommended".into(),
        ..Warning::default()
    };
    shown.update(run("a", 0, None)).update(Update {
        warnings: vec![warning],
        ..Update::default()
    });
    assert_eq!(shown.refresh(10), "#1 step a\n#1 WARN: JSONArgsRecommended\n");
    shown.update(run("a", 0, Some(10)));
    assert_eq!(shown.refresh(20), "#1 DONE 0.0s\n");
}

#[test]
fn a_failure_is_repeated_at_the_end_and_a_cancellation_is_not() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, None)).update(run("b", 0, None));
    shown.update(logs((1..=12).map(|n| log("a", &format!("{n}\n"), 100)).collect()));
    shown.update(failed("a", "exit code: 3"));
    shown.update(failed("b", "failed: context canceled"));
    let text = shown.finish(300);
    assert!(text.contains("#1 0.100 12\n#1 ERROR: exit code: 3\n"), "{text}");
    assert!(text.contains("#2 step b\n#2 CANCELED\n"), "{text}");
    let expected: String = (3..=12).map(|n| format!("0.100 {n}\n")).collect();
    assert!(
        text.ends_with(&format!("------\n > step a:\n{expected}------\n")),
        "{text}"
    );
}

#[test]
fn names_are_cut_only_on_request() {
    let name = "x".repeat(80);
    let long = || vertexes(vec![vertex("a", &name, Some(0), None)]);
    let mut shown = Shown::with(Plain::new(None, Some(72)));
    shown.update(long());
    assert_eq!(shown.refresh(0), format!("#1 {}...\n", "x".repeat(72)));
    let mut shown = Shown::new();
    shown.update(long());
    assert_eq!(shown.refresh(0), format!("#1 {name}\n"));
}

#[test]
fn a_group_is_printed_under_its_own_name() {
    let group = |weak| {
        Some(Group {
            id: "g".into(),
            name: "load metadata".into(),
            weak,
        })
    };
    let member = |digest: &str, end, weak| {
        vertexes(vec![Vertex {
            group: group(weak),
            ..vertex(digest, "a member", Some(0), end)
        }])
    };
    let mut shown = Shown::new();
    shown.update(member("a", None, true));
    assert_eq!(shown.refresh(10), "");
    shown.update(member("b", None, false));
    assert_eq!(shown.refresh(20), "#1 load metadata\n");
    shown.update(member("a", Some(100), true));
    assert_eq!(shown.refresh(100), "");
    shown.update(member("b", Some(300), false));
    assert_eq!(shown.refresh(300), "#1 DONE 0.3s\n");
}

#[test]
fn a_vertex_that_runs_again_is_announced_again() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, Some(100)));
    assert_eq!(shown.refresh(100), "#1 step a\n#1 DONE 0.1s\n");
    shown.update(run("a", 0, Some(100)));
    assert_eq!(shown.refresh(200), "");
    shown.update(run("a", 500, Some(700)));
    assert_eq!(shown.refresh(700), "\n#1 step a\n#1 DONE 0.3s\n");
}

#[test]
fn everything_that_waits_is_printed_at_the_end() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, None)).update(run("b", 0, None));
    shown.refresh(0);
    shown.update(logs(vec![log("b", "waiting\n", 10), log("a", "open", 10)]));
    assert_eq!(
        shown.finish(20),
        "#1 0.010 open\n#1 ...\n\n#2 step b\n#2 0.010 waiting\n"
    );
}

#[test]
fn output_of_a_waiting_vertex_does_not_pile_up() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, None)).update(run("b", 0, None));
    shown.refresh(0);
    let line = format!("{}\n", "x".repeat(1023));
    for tick in 0..3000 {
        shown.update(logs(vec![log("b", &line, 10)]));
        if tick % 100 == 0 {
            shown.refresh(20);
        }
        let waiting = shown.trace.vertexes()[1].log.waiting();
        assert!(waiting < 512 * 1024, "{waiting} bytes wait");
    }
}

#[test]
fn a_hundred_thousand_lines_are_each_written_once() {
    let mut shown = Shown::new();
    shown.update(run("a", 0, None));
    for tick in 0..1000 {
        let lines = (0..100)
            .map(|n| log("a", &format!("line {tick}.{n}\n"), tick))
            .collect();
        shown.update(logs(lines));
        shown.refresh(tick);
    }
    shown.update(run("a", 0, Some(1000)));
    shown.finish(1000);
    assert_eq!(shown.text.lines().count(), 100_002);
    assert_eq!(shown.trace.vertexes()[0].log.waiting(), 0);
}
