//! Full disks: nothing is lost, nothing dies, and it goes on by itself when there is room again.

use std::time::Instant;

use bugstream_stack::provision::{self, Cache};
use bugstream_stack::server;
use bugstream_testkit::disk::Disk;
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Change, Delivery};
use bugstream_testkit::rig::{Plan, Rig, Role};
use bugstream_testkit::wait;
use serde_json::json;

use crate::settle::{LONG, drained, mirror_everything, taken};

async fn edit_some(rig: &Rig) {
    for number in rig.github.numbers().into_iter().take(5) {
        let made = rig
            .github
            .edit(number, [Change::Title("Written to a full disk".to_owned())])
            .await;
        taken(&rig.github, made.unwrap()).await;
    }
}

async fn not_ready(rig: &mut Rig, role: Role, what: &str) {
    let service = rig.service(role);
    let said = format!("readiness of the {} speaks of {what:?}", role.program());
    wait::until_true(&said, LONG, async || {
        let said = service.readiness().await;
        said.is_some_and(|(status, why)| status == 503 && why.contains(what))
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
    edit_some(&rig).await;
    not_ready(&mut rig, Role::Downloader, "object").await;
    assert_eq!(rig.events().await.unwrap(), logged, "no event without its objects");
    disk.free().unwrap();
    survived(&mut rig).await;
}

/// An Elasticsearch whose data lie on a disk of their own, and that looks at it as often as it can.
async fn elastic_on(disk: &Disk) -> server::Elasticsearch {
    let folder = disk.path().to_owned();
    let started = tokio::task::spawn_blocking(move || {
        let distribution = provision::elasticsearch(&Cache::open()?)?;
        server::Elasticsearch::start(server::ElasticsearchOptions::new(distribution, folder))
    });
    let server = started.await.unwrap().unwrap();
    let watch = json!({"persistent": {
        "cluster.routing.allocation.disk.threshold_enabled": true,
        "cluster.info.update.interval": "10s",
    }});
    let settings = Elastic::at(&server.url());
    let (status, answer) = settings
        .call(http::Method::PUT, "/_cluster/settings", Some(&watch))
        .await;
    assert_eq!(status, 200, "{answer}");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_while_the_disk_of_elasticsearch_is_full() {
    let disk = Disk::mount(512).unwrap();
    let server = elastic_on(&disk).await;
    let mut rig = Rig::start(Plan::default(), Elastic::at(&server.url())).await.unwrap();
    mirror_everything(&rig).await;
    // Above the flood stage, which is at 95 %, with some room for the server's own files.
    assert!(disk.fill_but(12).unwrap() > 0);
    let path = format!("/{}*/_settings?expand_wildcards=all", rig.elastic.prefix());
    let begin = Instant::now();
    wait::until_true("the indices are read-only", LONG, async || {
        let (_, settings) = rig.elastic.call(http::Method::GET, &path, None).await;
        settings.to_string().contains("read_only_allow_delete")
    })
    .await;
    eprintln!("read-only after {:.1} s", begin.elapsed().as_secs_f64());
    edit_some(&rig).await;
    not_ready(&mut rig, Role::Indexer, "read-only").await;
    disk.free().unwrap();
    let begin = Instant::now();
    survived(&mut rig).await;
    eprintln!(
        "all is well {:.1} s after there was room",
        begin.elapsed().as_secs_f64()
    );
}

/// A delivery with the receiver's answer. It gives that eight seconds after it was asked, of GitHub's ten: on a busy
/// machine it may come too late, and the delivery is made once more.
async fn answered(rig: &Rig, mut delivery: Delivery) -> Delivery {
    let deadline = Instant::now() + LONG;
    while delivery.status.is_none() {
        assert!(Instant::now() < deadline, "the receiver does not answer");
        delivery = rig.github.redeliver(&delivery).await.unwrap();
    }
    delivery
}

/// nats-server 2.15.1 takes nothing more into a stream that met a full disk until it is started again, and says so in
/// its `/healthz`: whoever supervises it does that, as this test does.
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_refused_while_the_disk_of_the_broker_is_full_and_none_that_was_taken_is_lost() {
    // The server reserves a gigabyte of what it finds at its start for dead letters.
    let disk = Disk::mount(4_096).unwrap();
    let plan = Plan {
        nats_folder: Some(disk.path().to_owned()),
        ..Plan::default()
    };
    let mut rig = Rig::start(plan, Elastic::shared()).await.unwrap();
    mirror_everything(&rig).await;
    disk.resize(64).unwrap();
    assert!(disk.fill().unwrap() > 0);
    // What fits into blocks that are there already may still be taken.
    let edits = rig.github.numbers().into_iter().map(async |number| {
        let edit = rig
            .github
            .edit(number, [Change::Title("Written to a full disk".to_owned())]);
        edit.await.unwrap()
    });
    let made: Vec<_> = futures_util::future::join_all(edits).await.concat();
    let answers = futures_util::future::join_all(made.into_iter().map(|delivery| answered(&rig, delivery)));
    let refused: Vec<_> = answers
        .await
        .into_iter()
        .filter(|delivery| delivery.status != Some(202))
        .collect();
    assert!(!refused.is_empty() && refused.iter().all(|delivery| delivery.status == Some(503)));
    for role in Role::ALL {
        not_ready(&mut rig, role, "disk is full").await;
    }
    disk.free().unwrap();
    disk.resize(4_096).unwrap();
    rig.nats.restart().await;
    let begin = Instant::now();
    taken(&rig.github, refused).await;
    survived(&mut rig).await;
    eprintln!(
        "all is well {:.1} s after the broker was back",
        begin.elapsed().as_secs_f64()
    );
}
