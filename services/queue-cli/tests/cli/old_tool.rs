//! The old system's tool: its command lines, as its page had them, do what they did.

use bugstream_testkit::github::{Options, Simulator};
use bugstream_testkit::nats::Nats;

use crate::operator::Operator;

#[tokio::test]
async fn every_command_line_of_the_old_tool_is_understood() {
    let (nats, github) = (
        Nats::start().await,
        Simulator::start(Options::default()).await.expect("it starts"),
    );
    let operator = Operator::of(&nats)
        .with("GITHUB_REPO_PUBLIC", github.repository())
        .with("GITHUB_API_URL", github.url());
    let said = async |line: &str| operator.run(line).await.out();
    assert_eq!(said("noop").await, "");
    said("add download 91234").await;
    said("add index 91234").await;
    said("add-range download 1 50").await;
    said("add-range index 1 500").await;
    assert_eq!(said("length download").await, "download.length = 51\n");
    assert_eq!(said("length index").await, "index.length = 501\n");
    said("purge download").await;
    assert_eq!(said("length download").await, "download.length = 0\n");
    said("add-updated-since download 2021-12-01T00:00:00Z").await;
    said("add-updated-since index 2021-12-01T00:00:00Z").await;
    let listed = said("length download").await;
    assert!(
        listed.starts_with("download.length = ") && listed != "download.length = 0\n",
        "{listed}"
    );
}
