//! A short run of what `cargo stack faults` does for minutes: edits and faults by seed, then the mirror equals the truth.

use std::time::Duration;

use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::faults::{self, Options};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_while_of_everything_going_wrong_the_mirror_equals_the_truth() {
    let options = Options {
        seed: 1,
        duration: Duration::from_secs(15),
        issues: 20,
    };
    let report = faults::run_briefly(options, Elastic::shared(), |line| eprintln!("{line}"))
        .await
        .unwrap();
    eprintln!("{report}");
    assert!(report.is_good());
}
