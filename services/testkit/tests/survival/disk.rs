//! Full disks: nothing is lost, nothing dies, and it goes on by itself when there is room again.

use std::time::Duration;

use bugstream_testkit::disk::Disk;
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::Change;
use bugstream_testkit::rig::{Plan, Rig, Role};
use bugstream_testkit::wait;
use serde_json::{Value, json};

use crate::settle::{drained, mirror_everything};

const SOON: Duration = Duration::from_secs(60);

async fn edit_five(rig: &Rig) {
    for number in rig.github.numbers().into_iter().take(5) {
        let made = rig
            .github
            .edit(number, [Change::Title("Written to a full disk".to_owned())])
            .await;
        assert!(made.unwrap().iter().all(|delivery| delivery.status == Some(202)));
    }
}

async fn not_ready(rig: &mut Rig, role: Role) {
    let what = format!("the {} says that something is away", role.program());
    let service = rig.service(role);
    wait::until_true(&what, SOON, async || {
        service.readiness().await.is_some_and(|(status, _)| status == 503)
    })
    .await;
}

async fn survived(rig: &mut Rig) {
    drained(rig).await;
    assert_eq!(rig.verify().await.unwrap(), Vec::<String>::new());
    assert_eq!(rig.dead_letters().await.unwrap().len(), 0);
    for role in Role::ALL {
        rig.service(role).ready().await.unwrap();
        assert_eq!(rig.service(role).starts(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_wait_while_the_object_store_is_full() {
    let disk = Disk::mount(8).unwrap();
    let plan = Plan {
        objects: Some(disk.path().to_owned()),
        ..Plan::default()
    };
    let mut rig = Rig::start(plan, Elastic::shared()).await.unwrap();
    mirror_everything(&rig).await;
    assert!(disk.fill().unwrap() > 0);
    let logged = rig.events().await.unwrap();
    edit_five(&rig).await;
    not_ready(&mut rig, Role::Downloader).await;
    assert_eq!(rig.events().await.unwrap(), logged, "no event without its objects");
    disk.free().unwrap();
    survived(&mut rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_while_elasticsearch_makes_its_indices_read_only() {
    let mut rig = Rig::start(Plan::default(), Elastic::shared()).await.unwrap();
    mirror_everything(&rig).await;
    let path = format!("/{}*/_settings?expand_wildcards=all", rig.elastic.prefix());
    let block = async |rig: &Rig, value: Value| {
        let body = json!({"index.blocks.read_only_allow_delete": value});
        let (status, answer) = rig.elastic.call(http::Method::PUT, &path, Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
    };
    block(&rig, json!(true)).await;
    edit_five(&rig).await;
    wait::until_true("the indexer says that something is away", SOON, async || {
        // A node without disk thresholds lifts the block by itself now and then.
        block(&rig, json!(true)).await;
        rig.service(Role::Indexer)
            .readiness()
            .await
            .is_some_and(|(status, _)| status == 503)
    })
    .await;
    block(&rig, json!(null)).await;
    survived(&mut rig).await;
}
