//! Stopping what nobody uses, and who comes in that moment.

use std::time::Duration;

use bkhost::keeper::record::Reason;

use crate::place::{LONG, Place, sleeper};

#[tokio::test]
async fn an_idle_daemon_is_stopped() {
    let place = Place::new();
    let mut launch = sleeper();
    launch.idle_timeout = 200_000_000;
    let daemon = place.site.start(&launch).await.unwrap();
    tokio::time::timeout(LONG, daemon.ended()).await.unwrap();
    assert_eq!(daemon.end().await.unwrap().reason, Reason::Idle);
}

#[tokio::test]
async fn a_lease_keeps_it() {
    let place = Place::new();
    let mut launch = sleeper();
    launch.idle_timeout = 100_000_000;
    let lease = place.site.lease(LONG).await.unwrap();
    let daemon = place.site.start(&launch).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(daemon.running());
    drop(lease);
    tokio::time::timeout(LONG, daemon.ended()).await.unwrap();
}

/// A user who comes while the daemon is being stopped waits for that, and then finds it ended; one who comes before
/// keeps it. Never is a daemon that was found running under a lease stopped.
#[tokio::test]
async fn leases_and_idle_stops_race_without_loss() {
    let place = Place::new();
    let mut launch = sleeper();
    launch.idle_timeout = 40_000_000;
    let mut stopped = 0;
    for round in 0..50 {
        let lease = place.site.lease(LONG).await.unwrap();
        let daemon = match place.site.current().await.unwrap() {
            Some(daemon) if daemon.running() => daemon,
            _ => {
                stopped += 1;
                place.site.start(&launch).await.unwrap()
            }
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(daemon.running(), "round {round}: stopped under a lease");
        drop(lease);
        // Around the moment in which the keeper decides.
        tokio::time::sleep(Duration::from_millis(30 + round % 25)).await;
    }
    assert!(stopped > 1, "the race was never close");
}
