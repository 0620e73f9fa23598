use super::frame::{Style, compose};
use super::*;
use crate::progress::event::{Status, Update, Vertex, Warning};
use crate::progress::mode::Mode;
use crate::progress::sample::{at, log, logs, status, statuses, vertex, vertexes};
use crate::progress::settings::Environment;
use crate::progress::trace::log::LogKeeping;

fn trace(updates: Vec<Update>) -> Trace {
    let mut trace = Trace::new(LogKeeping::Screen);
    for update in updates {
        trace.apply(update);
    }
    trace
}

fn view(width: usize, height: usize, milliseconds: i64) -> View<'static> {
    View {
        now: at(milliseconds),
        begun: at(0),
        size: Size { width, height },
        heading: "Building",
        label: "remote:b1",
        log_lines: 6,
        last: false,
    }
}

fn frame(trace: &Trace, view: &View<'_>) -> Vec<String> {
    compose(trace, view).into_iter().map(|row| row.text).collect()
}

fn small_build() -> Trace {
    let name = r#"[2/2] RUN ["/bin/busybox","sh","-c","for i in 1 2 3 4; do echo slow $i; sleep 1; done"]"#;
    let load = "[internal] load build definition from Dockerfile";
    trace(vec![
        vertexes(vec![vertex("a", load, Some(0), Some(30))]),
        statuses(vec![Status {
            current: 180,
            completed: Some(at(20)),
            ..status("a", "transferring dockerfile:", 0, 0)
        }]),
        vertexes(vec![vertex("b", name, Some(100), None)]),
        logs(vec![log("b", "slow 1\nslow 2\nslow 3\n", 1900)]),
    ])
}

#[test]
fn a_frame_of_a_running_build() {
    let trace = small_build();
    let rows = frame(&trace, &view(80, 24, 2000));
    assert_eq!(
        rows,
        [
            "[+] Building 2.0s (1/2)                                               remote:b1",
            " => [internal] load build definition from Dockerfile                       0.0s",
            " => => transferring dockerfile: 180B                                       0.0s",
            r#" => [2/2] RUN ["/bin/busybox","sh","-c","for i in 1 2 3 4; do echo slow $  1.9s"#,
            " => => # slow 1",
            " => => # slow 2",
            " => => # slow 3",
        ]
    );
    assert!(rows.iter().all(|row| row.chars().count() <= 79));
}

#[test]
fn the_last_frame_says_so_and_shows_everything() {
    let mut trace = small_build();
    trace.apply(vertexes(vec![vertex("b", "[2/2] RUN", Some(100), Some(2100))]));
    let mut view = view(80, 4, 2200);
    assert!(!frame(&trace, &view)[0].contains("FINISHED"));
    view.last = true;
    let rows = frame(&trace, &view);
    assert!(
        rows[0].starts_with("[+] Building 2.2s (2/2) FINISHED   "),
        "{}",
        rows[0]
    );
    assert_eq!(rows.len(), 4);
    assert!(rows[3].starts_with(" => [2/2] RUN   "));
}

#[test]
fn rows_stand_in_the_order_of_their_start() {
    let trace = trace(vec![vertexes(vec![
        vertex("last", "last", Some(200), None),
        vertex("first", "first", Some(0), None),
    ])]);
    let rows = frame(&trace, &view(40, 24, 300));
    assert!(rows[1].starts_with(" => first") && rows[2].starts_with(" => last"));
}

#[test]
fn names_tell_how_it_ended_and_colours_repeat_it() {
    let ended = |digest: &str, error: &str, cached| Vertex {
        error: error.into(),
        cached,
        ..vertex(digest, digest, Some(0), Some(10))
    };
    let mut trace = trace(vec![vertexes(vec![
        ended("good", "", false),
        ended("known", "", true),
        ended("bad", "exit code: 1", false),
        ended("stopped", "x: context canceled", false),
        vertex("open", "open", Some(0), None),
        vertex("waits", "waits", None, None),
    ])]);
    trace.apply(Update {
        warnings: vec![Warning {
            vertex: "open".into(),
            short: "Casing".into(),
            ..Warning::default()
        }],
        ..Update::default()
    });
    let rows = compose(&trace, &view(40, 24, 100));
    let seen: Vec<(&str, Style)> = rows
        .iter()
        .map(|row| (row.text[..row.text.len() - 4].trim_end(), row.style))
        .skip(1)
        .collect();
    assert_eq!(
        seen,
        [
            (" => good", Style::Run),
            (" => CACHED known", Style::Run),
            (" => ERROR bad", Style::Error),
            (" => CANCELED stopped", Style::Cancel),
            (" => open", Style::Plain),
            (" => WARN: Casing", Style::Warning),
        ]
    );
    assert!(rows[0].text.starts_with("[+] Building 0.1s (4/6)"));
}

#[test]
fn sizes_are_shown_where_there_is_room() {
    let part = status(
        "a",
        "sha256:0123456789abcdef0123456789abcdef",
        1_000_000,
        2_000_000,
    );
    let trace = trace(vec![
        vertexes(vec![vertex("a", "pull", Some(0), None)]),
        statuses(vec![part]),
    ]);
    let row = |width| {
        frame(&trace, &view(width, 24, 1000))
            .get(2)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        row(60),
        " => => sha256:0123456789abcdef0123456 1.00MB / 2.00MB  1.0s"
    );
    assert_eq!(row(30), " => => sha256:012345678  1.0s");
    assert_eq!(row(22), "");
}

#[test]
fn a_narrow_terminal_shows_what_fits() {
    let trace = small_build();
    let rows = frame(&trace, &view(20, 24, 2000));
    assert_eq!(rows, ["[+] 2.0s (1/2)"]);
    let rows = frame(&trace, &view(24, 24, 2000));
    assert_eq!(rows[1], " => [internal] lo  0.0s");
    for width in 1..30 {
        let rows = frame(&trace, &view(width, 24, 2000));
        assert!(
            rows.iter().all(|row| row.chars().count() < width.max(2)),
            "{width}: {rows:?}"
        );
    }
}

#[test]
fn wide_characters_count_twice() {
    let name = "\u{7d20}\u{6674}".repeat(40);
    let trace = trace(vec![vertexes(vec![vertex("a", &name, Some(0), None)])]);
    let rows = compose(&trace, &view(60, 24, 0));
    assert!(rows.iter().all(|row| row.line(None).width <= 59));
    assert!(rows[1].text.ends_with("  0.0s"));
}

#[test]
fn names_cannot_move_the_cursor() {
    let name = "a\nb\u{1b}[2Jc\rd";
    let trace = trace(vec![vertexes(vec![vertex("a", name, Some(0), None)])]);
    assert!(frame(&trace, &view(60, 24, 0))[1].starts_with(" => a b[2Jc d  "));
}

#[test]
fn unfinished_rows_stay_when_there_is_no_room() {
    let mut all = vec![vertex("open", "open", Some(0), None)];
    all.extend((0..10).map(|n| vertex(&format!("d{n}"), &format!("done {n}"), Some(0), Some(10))));
    let trace = trace(vec![vertexes(all)]);
    let rows = frame(&trace, &view(40, 6, 100));
    let names: Vec<&str> = rows.iter().skip(1).map(|row| row[4..12].trim_end()).collect();
    assert_eq!(names, ["open", "done 7", "done 8", "done 9"]);
    assert!(rows.len() <= 5);
}

#[test]
fn of_too_many_unfinished_rows_the_newest_are_shown() {
    let all = (0..10).map(|n| vertex(&format!("o{n}"), &format!("open {n}"), Some(0), None));
    let trace = trace(vec![vertexes(all.collect())]);
    let rows = frame(&trace, &view(40, 5, 100));
    let names: Vec<&str> = rows.iter().skip(1).map(|row| row[4..12].trim_end()).collect();
    assert_eq!(names, ["open 7", "open 8", "open 9"]);
    for height in 0..12 {
        let rows = frame(&trace, &view(40, height, 100));
        assert!(rows.len() <= height.saturating_sub(1).max(1));
    }
}

#[test]
fn the_busiest_vertex_gets_the_small_terminal() {
    let trace = trace(vec![
        vertexes(vec![
            vertex("calm", "calm", Some(0), None),
            vertex("busy", "busy", Some(0), None),
        ]),
        logs(vec![log("calm", "one line\n", 10)]),
        logs((0..20).map(|n| log("busy", &format!("line {n}\n"), 10)).collect()),
    ]);
    let rows = frame(&trace, &view(40, 16, 100));
    assert!(rows[1].starts_with(" => calm") && rows[2].starts_with(" => busy"));
    assert_eq!(rows[3], " => => # line 14");
    assert_eq!(rows.len(), 3 + 6);
    // Ten rows, the size that is assumed, have no room for any.
    let rows = frame(&trace, &view(80, 10, 100));
    assert_eq!(rows.len(), 3);
}

#[test]
fn small_terminals_are_as_high_as_wanted_and_possible() {
    let trace = trace(vec![
        vertexes(vec![vertex("a", "a", Some(0), None)]),
        logs((0..50).map(|n| log("a", &format!("line {n}\n"), 10)).collect()),
    ]);
    let logged = |height, log_lines| {
        let view = View {
            log_lines,
            ..view(40, height, 100)
        };
        frame(&trace, &view).len() - 2
    };
    assert_eq!(logged(40, 6), 6);
    assert_eq!(logged(40, 20), 20);
    assert_eq!(logged(40, 1), 6);
    // 24 rows leave at most 17, and that leaves no room beside.
    assert_eq!(logged(24, 100), 17);
}

fn tty(size: Option<Size>) -> Tty {
    let settings = Settings::new(Mode::Tty, &Environment::default(), true).unwrap();
    Tty::new(&settings.with_size(move || size), "remote:b1")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_display_redraws_only_what_changes() {
    let mut tty = tty(Some(Size {
        width: 40,
        height: 24,
    }));
    let mut trace = trace(vec![]);
    assert_eq!(text(tty.refresh(&mut trace, at(0))), "");
    trace.apply(vertexes(vec![
        vertex("a", "first", Some(0), Some(100)),
        vertex("b", "second", Some(0), None),
    ]));
    let first = text(tty.refresh(&mut trace, at(0)));
    assert_eq!(
        first,
        "[+] Building 0.0s (1/2)       remote:b1\n\
         \u{1b}[34m => first                          0.1s\u{1b}[0m\n \
         => second                         0.0s\n"
    );
    assert_eq!(text(tty.refresh(&mut trace, at(20))), "");
    let second = text(tty.refresh(&mut trace, at(100)));
    assert_eq!(
        second,
        "\u{1b}[3A\r[+] Building 0.1s (1/2)       remote:b1\n\n => second                         0.1s\n"
    );
}

#[test]
fn without_a_size_eighty_by_ten_is_assumed() {
    let mut tty = tty(None);
    let all = (0..20).map(|n| vertex(&format!("o{n}"), "open", Some(0), None));
    let mut trace = trace(vec![vertexes(all.collect())]);
    let text = text(tty.refresh(&mut trace, at(0)));
    assert_eq!(text.lines().count(), 9);
    assert_eq!(text.lines().next().unwrap().len(), 79);
}

#[test]
fn no_colours_on_request() {
    let environment = Environment {
        no_colour: Some("1".into()),
        ..Environment::default()
    };
    let settings = Settings::new(Mode::Tty, &environment, true).unwrap();
    let mut tty = Tty::new(&settings.with_size(|| None), "x");
    let mut trace = trace(vec![vertexes(vec![vertex("a", "first", Some(0), Some(100))])]);
    let text = text(tty.refresh(&mut trace, at(0)));
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn failures_are_repeated_below_the_block() {
    let mut tty = tty(None);
    let failed = Vertex {
        error: "exit code: 3".into(),
        ..vertex("a", "[2/2] RUN", Some(0), Some(100))
    };
    let mut trace = trace(vec![
        vertexes(vec![vertex("a", "[2/2] RUN", Some(0), None)]),
        logs(
            (0..12)
                .map(|n| log("a", &format!("\u{1b}[31m{n}\n"), 50))
                .collect(),
        ),
        vertexes(vec![failed]),
    ]);
    let text = text(tty.finish(&mut trace, at(100)));
    let block: String = (0..12).map(|n| format!("0.050 {n}\n")).collect();
    assert!(
        text.ends_with(&format!("0.1s\u{1b}[0m\n------\n > [2/2] RUN:\n{block}------\n")),
        "{text:?}"
    );
}

#[test]
fn work_that_is_no_build_has_its_own_heading() {
    let trace = trace(vec![vertexes(vec![vertex("a", "a", Some(0), Some(100))])]);
    let view = View {
        heading: "Stopping",
        last: true,
        ..view(60, 10, 100)
    };
    assert!(frame(&trace, &view)[0].starts_with("[+] Stopping 0.1s (1/1) FINISHED"));
}
