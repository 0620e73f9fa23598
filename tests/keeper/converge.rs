//! Many commands at once.

use std::process::{Command, Stdio};

use crate::place::{LONG, Place, site_at, sleeper};

const BASE: &str = "BKHOST_TEST_CONVERGE";

/// What a driver's boot does: lock, look, start.
async fn boot(base: &std::path::Path) -> u32 {
    let site = site_at(base);
    let _lease = site.lease(LONG).await.unwrap();
    let _lock = site.lock("boot", LONG).await.unwrap();
    match site.current().await.unwrap() {
        Some(daemon) if daemon.running() => daemon.pid(),
        _ => site.start(&sleeper()).await.unwrap().pid(),
    }
}

/// One command. The test below runs it in processes of their own, all at one place.
#[tokio::test]
async fn one_of_sixteen() {
    let alone = Place::new();
    let shared = std::env::var_os(BASE).map(std::path::PathBuf::from);
    let base = shared.as_ref().unwrap_or(&alone.base);
    let pid = boot(base).await;
    assert!(crate::place::is_alive(pid));
    std::fs::write(
        base.with_file_name(format!("pid-{}", std::process::id())),
        pid.to_string(),
    )
    .unwrap();
}

#[tokio::test]
async fn sixteen_processes_start_one_daemon() {
    let place = Place::new();
    let mut commands: Vec<_> = (0..16)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "converge::one_of_sixteen"])
                .env(BASE, &place.base)
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for command in &mut commands {
        assert!(command.wait().unwrap().success());
    }
    let daemon = place.site.current().await.unwrap().unwrap();
    assert!(daemon.running());
    let folder = place.base.parent().unwrap();
    let pids: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("pid-"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(pids, vec![daemon.pid().to_string(); 16]);
}

#[tokio::test]
async fn a_removal_does_not_break_who_waits_for_a_lock() {
    let place = Place::new();
    let held = place.site.lock("boot", LONG).await.unwrap();
    let waiter = {
        let site = place.site.clone();
        tokio::spawn(async move { site.lock("boot", LONG).await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    place.site.remove(None, LONG).await.unwrap();
    drop(held);
    let taken = waiter.await.unwrap().unwrap();
    assert!(taken.path().exists());
    assert!(place.site.lock("no/slash", LONG).await.is_err());
}
