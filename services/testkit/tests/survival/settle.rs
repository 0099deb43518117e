//! Bringing a pipeline to rest: everything mirrored, nothing waiting.

use std::time::Duration;

use bugstream_testkit::github::{Delivery, Simulator};
use bugstream_testkit::rig::{self, Rig};

/// How long anything may take: a killed worker's messages come back after thirty seconds, and the machine may be busy with
/// something else for as long.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Downloads every issue there is.
pub(crate) async fn mirror_everything(rig: &Rig) {
    let last = rig.github.numbers().last().copied().unwrap().to_string();
    let queued = rig.queue_cli(&["add-range", "download", "1", &last]).await.unwrap();
    assert!(queued.status.success(), "{}", String::from_utf8_lossy(&queued.stderr));
    drained(rig).await;
    assert_eq!(rig.verify().await.unwrap(), Vec::<String>::new());
}

/// Sees to it that the receiver takes all of these, however often GitHub has to send them.
pub(crate) async fn taken(github: &Simulator, deliveries: Vec<Delivery>) {
    rig::taken(github, &deliveries, LONG).await;
}

/// How long a whole mirror may take: longer where there are more issues than usual.
pub(crate) fn patience(issues: u64) -> Duration {
    LONG * u32::try_from(1 + issues / 1_000).unwrap()
}

/// Waits until nothing waits.
pub(crate) async fn drained(rig: &Rig) {
    drained_of(rig, rig.github.numbers().len() as u64).await;
}

/// The same where so many issues are or were there.
pub(crate) async fn drained_of(rig: &Rig, issues: u64) {
    let patience = patience(issues);
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        // Before the look, so that there is one after the deadline, however long this thread stood still.
        let over = tokio::time::Instant::now() > deadline;
        if rig.waiting().await == Some(0) {
            return;
        }
        assert!(
            !over,
            "after {patience:?} there still waits {}",
            rig.waiting_in_words().await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many issues a test works on: what the variable says, for a long run by hand, else as many as usual.
pub(crate) fn issues_wanted(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}
