//! Ctrl-C.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bkhost_test_support::call::Running;
use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::source::with_base;
use bkhost_test_support::terminal::{INTERRUPT, Terminal};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Remote, build, context, eventually, unique};
use crate::process::{create, daemons};

fn steps(mark: &str) -> String {
    format!("RUN echo begun-{mark}; sleep 1000.{}\n", seconds(mark))
}

/// A part of the step's command line that no other process has.
fn seconds(mark: &str) -> String {
    mark.chars().filter(char::is_ascii_digit).collect()
}

fn runs(mark: &str) -> bool {
    let wanted = format!("1000.{}", seconds(mark));
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| {
            String::from_utf8_lossy(&line)
                .split('\0')
                .any(|word| word == wanted)
        })
}

/// A build whose step runs until it is ended, and the mark of that step.
fn begun(remote: &Remote) -> (Running, String) {
    let mark = unique();
    let folder = with_base(&remote.context, "source", &steps(&mark));
    let mut running = remote.build(&folder).start();
    running.until_said(&format!("begun-{mark}\n"));
    (running, mark)
}

/// The same on a terminal.
fn begun_on_terminal(remote: &Remote) -> (Terminal, String) {
    let mark = unique();
    let folder = with_base(&remote.context, "source", &steps(&mark));
    let mut terminal = remote.build(&folder).on_terminal(30, 100);
    terminal.until_shown(&format!("# begun-{mark}"));
    (terminal, mark)
}

#[test]
fn the_first_one_cancels_the_build_on_the_daemon_and_gives_the_terminal_back() {
    let remote = Remote::new();
    let (mut terminal, mark) = begun_on_terminal(&remote);
    eventually("the step runs", Duration::from_secs(10), || runs(&mark));
    let typed = Instant::now();
    terminal.types(INTERRUPT);
    let ended = terminal.wait();
    let took = typed.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    ended.fails(130).says("CANCELED").says("context canceled");
    terminal.is_sane();
    eventually("the step is gone", Duration::from_secs(15), || !runs(&mark));
}

#[test]
fn a_signal_to_a_build_without_a_terminal_does_the_same() {
    for signal in [Signal::INT, Signal::TERM] {
        let remote = Remote::new();
        let (running, mark) = begun(&remote);
        let sent = Instant::now();
        running.signal(signal);
        running.wait().fails(130).says("CANCELED");
        assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
        eventually("the step is gone", Duration::from_secs(15), || !runs(&mark));
    }
}

#[test]
fn the_second_one_ends_at_once_even_when_the_daemon_does_not_answer() {
    let remote = Remote::at(Arc::new(Daemon::start()));
    let (running, _) = begun(&remote);
    remote.daemon.freeze(true);
    running.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(200));
    let sent = Instant::now();
    running.signal(Signal::INT);
    let _ = running.wait().fails(130);
    assert!(
        sent.elapsed() < Duration::from_millis(500),
        "{:?}",
        sent.elapsed()
    );
    remote.daemon.freeze(false);
}

#[test]
fn the_second_one_that_is_typed_gives_the_terminal_back_at_once() {
    let remote = Remote::at(Arc::new(Daemon::start()));
    let (mut terminal, _) = begun_on_terminal(&remote);
    assert!(terminal.hides_its_cursor(), "{:?}", terminal.screen());
    remote.daemon.freeze(true);
    terminal.types(INTERRUPT);
    std::thread::sleep(Duration::from_millis(200));
    let typed = Instant::now();
    terminal.types(INTERRUPT);
    let ended = terminal.wait();
    assert!(
        typed.elapsed() < Duration::from_millis(500),
        "{:?}",
        typed.elapsed()
    );
    let _ = ended.fails(130);
    terminal.is_sane();
    remote.daemon.freeze(false);
}

#[test]
fn one_is_enough_when_the_daemon_does_not_answer() {
    let remote = Remote::at(Arc::new(Daemon::start()));
    let (mut terminal, _) = begun_on_terminal(&remote);
    remote.daemon.freeze(true);
    let typed = Instant::now();
    terminal.types(INTERRUPT);
    let ended = terminal.wait();
    assert!(typed.elapsed() < Duration::from_secs(2), "{:?}", typed.elapsed());
    let _ = ended.fails(130);
    terminal.is_sane();
    remote.daemon.freeze(false);
}

#[test]
fn a_wait_for_a_daemon_can_be_interrupted() {
    let context = crate::harness::context();
    let create = ["create", "--driver", "remote", "--name", "b", "--use"];
    context
        .bkhost(create)
        .arg("unix:///nonexistent/s.sock")
        .run()
        .succeeds();
    let folder = bkhost_test_support::source::bare(&context, "source", "FROM scratch\n");
    let running = crate::harness::build(&context, &folder).start();
    std::thread::sleep(Duration::from_millis(700));
    let sent = Instant::now();
    running.signal(Signal::INT);
    let ended = running.wait();
    assert!(sent.elapsed() < Duration::from_secs(2), "{ended:?}");
    let _ = ended.fails(130);
}

#[test]
fn a_removal_that_is_interrupted_can_be_done_again() {
    let context = context();
    create(&context, &[]);
    let folder = with_base(&context, "source", "RUN true\n");
    build(&context, &folder).run().succeeds();
    let daemon = daemons(&context);
    assert_eq!(daemon.len(), 1);
    let signal = |signal| kill_process(Pid::from_raw(daemon[0] as i32).unwrap(), signal).unwrap();
    // It does not end when it is asked to.
    signal(Signal::STOP);
    let mut running = context.bkhost(["rm", "b"]).start();
    running.until_said("stopping buildkit");
    running.signal(Signal::INT);
    running.wait().fails(130).says_no("b removed");
    signal(Signal::CONT);
    context.bkhost(["inspect", "b"]).run().succeeds();
    context.bkhost(["rm", "b"]).run().succeeds().says("b removed");
    assert!(daemons(&context).is_empty());
}
