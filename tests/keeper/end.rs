//! Start, stop, and how a daemon's end is told.

use std::time::Duration;

use bkhost::keeper::error::KeeperError;
use bkhost::keeper::record::{Reason, Record};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;

use crate::place::{LONG, Place, is_alive, kill, parent_of, shell, sleeper, until_logged};

#[tokio::test]
async fn a_daemon_is_started_seen_and_stopped() {
    let place = Place::new();
    assert!(place.site.current().await.unwrap().is_none());
    let daemon = place.site.start(&sleeper()).await.unwrap();
    assert!(daemon.running());
    assert!(daemon.end().await.is_none());
    let seen = place.site.current().await.unwrap().unwrap();
    assert_eq!((seen.pid(), seen.running()), (daemon.pid(), true));

    place.site.stop(LONG).await.unwrap();
    tokio::time::timeout(LONG, daemon.ended()).await.unwrap();
    let end = daemon.end().await.unwrap();
    assert_eq!((end.reason, end.signal), (Reason::Stopped, Some(15)));
    let seen = place.site.current().await.unwrap().unwrap();
    assert_eq!(seen.end().await.unwrap(), end);
    place.site.stop(LONG).await.unwrap();
}

#[tokio::test]
async fn a_second_start_is_refused_while_the_first_runs_and_allowed_after() {
    let place = Place::new();
    let first = place.site.start(&sleeper()).await.unwrap();
    let error = place.site.start(&sleeper()).await.unwrap_err();
    assert!(
        matches!(error, KeeperError::Running { pid } if pid == first.pid()),
        "{error}"
    );
    kill(first.pid(), Signal::KILL);
    first.ended().await;
    let second = place.site.start(&sleeper()).await.unwrap();
    assert!(second.running());
    assert_ne!(first.pid(), second.pid());
}

#[tokio::test]
async fn a_killed_daemon_is_told_with_its_signal_and_last_words() {
    let place = Place::new();
    let daemon = place
        .site
        .start(&shell("echo first; echo last >&2; exec sleep 600"))
        .await
        .unwrap();
    until_logged(&place.site, "last").await;
    kill(daemon.pid(), Signal::KILL);
    tokio::time::timeout(LONG, daemon.ended()).await.unwrap();
    let end = daemon.end().await.unwrap();
    assert_eq!(
        (end.reason, end.signal, end.exit_code),
        (Reason::Exited, Some(9), None)
    );
    assert_eq!(end.log, "first\nlast");
    assert!(end.ended_at >= daemon.started_at());
    assert!(end.pairs().contains(&("signal-name".into(), "SIGKILL".into())));
}

#[tokio::test]
async fn a_daemon_that_exits_is_told_with_its_code() {
    let place = Place::new();
    let daemon = place
        .site
        .start(&shell("echo cannot lock; exit 7"))
        .await
        .unwrap();
    tokio::time::timeout(LONG, daemon.ended()).await.unwrap();
    let end = daemon.end().await.unwrap();
    assert_eq!((end.reason, end.exit_code), (Reason::Exited, Some(7)));
    assert_eq!(daemon.log_tail(1), "cannot lock");
}

#[tokio::test]
async fn a_program_that_cannot_be_run_says_so_in_the_log() {
    let place = Place::new();
    let launch = bkhost::keeper::launch::Launch::new("/nonexistent/daemon");
    let daemon = place.site.start(&launch).await.unwrap();
    tokio::time::timeout(LONG, daemon.ended()).await.unwrap();
    let end = daemon.end().await.unwrap();
    assert_eq!(end.exit_code, Some(127));
    assert!(end.log.contains("cannot run /nonexistent/daemon"), "{}", end.log);
}

#[tokio::test]
async fn a_daemon_that_ignores_sigterm_is_killed_after_the_grace() {
    let place = Place::new();
    let daemon = place
        .site
        .start(&shell("trap '' TERM; echo up; sleep 600"))
        .await
        .unwrap();
    until_logged(&place.site, "up").await;
    place.site.stop(Duration::from_millis(200)).await.unwrap();
    let end = daemon.end().await.unwrap();
    assert_eq!((end.reason, end.signal), (Reason::Stopped, Some(9)));
}

#[tokio::test]
async fn what_a_daemon_leaves_behind_ends_with_it() {
    let place = Place::new();
    let script = "(setsid sleep 600 & echo left $!) ; exec sleep 600";
    let daemon = place.site.start(&shell(script)).await.unwrap();
    until_logged(&place.site, "left ").await;
    let log = daemon.log_tail(1);
    let left: u32 = log.trim_start_matches("left ").parse().unwrap();
    assert!(is_alive(left));
    kill(daemon.pid(), Signal::KILL);
    daemon.ended().await;
    daemon.end().await.unwrap();
    assert!(!is_alive(left));
}

#[tokio::test]
async fn a_daemon_does_not_outlive_a_killed_keeper() {
    let place = Place::new();
    let daemon = place.site.start(&sleeper()).await.unwrap();
    until_logged(&place.site, "up").await;
    kill(parent_of(daemon.pid()), Signal::KILL);
    tokio::time::timeout(LONG, daemon.ended()).await.unwrap();
    let end = daemon.end().await.unwrap();
    assert_eq!((end.reason, end.log.as_str()), (Reason::KeeperLost, "up"));
    let seen = place.site.current().await.unwrap().unwrap();
    assert!(!seen.running());
    assert!(place.site.start(&sleeper()).await.unwrap().running());
}

#[tokio::test]
async fn a_daemon_that_survives_its_keeper_is_still_stopped() {
    let place = Place::new();
    let daemon = place
        .site
        .start(&shell("trap '' TERM; echo up; sleep 600"))
        .await
        .unwrap();
    until_logged(&place.site, "up").await;
    kill(parent_of(daemon.pid()), Signal::KILL);
    let error = place.site.start(&sleeper()).await.unwrap_err();
    assert!(matches!(error, KeeperError::Running { .. }), "{error}");
    place.site.stop(Duration::from_millis(200)).await.unwrap();
    assert!(!daemon.running());
}

#[tokio::test]
async fn a_record_whose_process_id_was_used_again_harms_nobody() {
    let place = Place::new();
    let daemon = place.site.start(&sleeper()).await.unwrap();
    place.site.stop(LONG).await.unwrap();
    assert!(!daemon.running());
    // Start times are told in clock ticks of 10 ms.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut innocent = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let mut record = Record::read(place.site.folder()).unwrap().unwrap();
    record.end = None;
    record.process.pid = innocent.id();
    record.write(place.site.folder()).unwrap();

    let seen = place.site.current().await.unwrap().unwrap();
    assert!(!seen.running());
    assert_eq!(seen.end().await.unwrap().reason, Reason::KeeperLost);
    place.site.stop(Duration::ZERO).await.unwrap();
    place.site.remove(None, LONG).await.unwrap();
    assert!(
        innocent.try_wait().unwrap().is_none(),
        "the other process still runs"
    );
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[tokio::test]
async fn removal_leaves_nothing() {
    let place = Place::new();
    let state = place.base.with_file_name("state");
    place.site.create_state(&state).unwrap();
    place.site.write_config("buildkitd.toml", b"").unwrap();
    let mut launch = sleeper();
    launch.state = Some(state.clone());
    let daemon = place.site.start(&launch).await.unwrap();
    let error = bkhost::keeper::state::hold(&state).unwrap_err();
    assert!(matches!(error, KeeperError::StateInUse { .. }), "{error}");
    place.site.remove(Some(&state), LONG).await.unwrap();
    assert!(!daemon.running());
    assert!(!state.exists() && !place.base.exists());
    place.site.remove(Some(&state), LONG).await.unwrap();
    assert!(place.site.current().await.unwrap().is_none());
}

#[tokio::test]
async fn a_daemon_whose_folder_was_removed_is_stopped() {
    let place = Place::new();
    let daemon = place.site.start(&sleeper()).await.unwrap();
    std::fs::remove_dir_all(place.site.folder()).unwrap();
    tokio::time::timeout(LONG, daemon.ended()).await.unwrap();
}

#[tokio::test]
async fn the_log_is_followed_to_the_end() {
    let place = Place::new();
    let script = "echo one; echo two; sleep 0.3; echo three; sleep 0.3; echo four";
    let daemon = place.site.start(&shell(script)).await.unwrap();
    until_logged(&place.site, "two").await;
    let mut text = String::new();
    let mut log = bkhost::keeper::follow::open(daemon.clone(), true, Some(1));
    tokio::time::timeout(LONG, log.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text, "two\nthree\nfour\n");
    let mut text = String::new();
    let mut log = bkhost::keeper::follow::open(daemon, false, None);
    log.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "one\ntwo\nthree\nfour\n");
}

#[tokio::test]
async fn the_daemon_gets_its_own_environment_and_none_of_our_files() {
    let place = Place::new();
    let inherited = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let mut launch = shell(
        "echo $HELLO $PATH; pwd; ls /proc/self/fd | tr '\\n' ' '; umask; cut -d' ' -f5,6 /proc/$$/stat; echo end",
    );
    launch.env = vec![("HELLO".into(), "there".into())];
    launch.path_first = vec!["/first".into()];
    let daemon = place.site.start(&launch).await.unwrap();
    daemon.ended().await;
    let log = daemon.end().await.unwrap().log;
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with("there /first:"), "{log}");
    assert_eq!(lines[1], "/");
    // 3 is the folder that `ls` reads.
    assert_eq!(lines[2], "0 1 2 3 0022");
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    let session = own
        .rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(3)
        .unwrap()
        .to_owned();
    assert!(
        !lines[3].ends_with(&format!(" {session}")),
        "a session of its own: {log}"
    );
}
