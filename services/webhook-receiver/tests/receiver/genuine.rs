//! What GitHub's own deliveries turn into.

use std::collections::BTreeSet;
use std::time::Duration;

use bugstream_kit::clock::Clock;
use bugstream_kit::config::Repository;
use bugstream_kit::secret::Secret;
use bugstream_kit::service::Context;
use bugstream_proto::message::time_of;
use bugstream_proto::{RepoName, Verb};
use bugstream_testkit::fixtures;
use bugstream_testkit::github::sign;
use bugstream_testkit::nats::Nats;
use futures_util::future::join_all;
use serde_json::json;
use time::OffsetDateTime;

use crate::harness::{Delivery, Downloads, Receiver, config, issue, partners};

const DEBOUNCE: &str = "debounce.bugstream-test.web-bugs.7";
const DEADLINE: &str = "deadline.bugstream-test.web-bugs.7";
const DOWNLOAD: &str = "download.bugstream-test.web-bugs.7";

#[tokio::test]
async fn fifty_deliveries_at_two_receivers_are_one_debounce_and_one_deadline() {
    let nats = Nats::start().await;
    let one = Receiver::start(config(&nats.url())).await.ready().await;
    let two = Receiver::start(config(&nats.url())).await.ready().await;
    let deliveries: Vec<_> = (0..50)
        .map(|n| Delivery::of_issue(&format!("d{n}"), "edited", 7))
        .collect();
    let receivers = [&one, &two].into_iter().cycle();
    let sent = deliveries.iter().zip(receivers);
    let answers = join_all(sent.map(|(delivery, receiver)| receiver.status(delivery))).await;
    assert!(answers.iter().all(|status| *status == 202), "{answers:?}");
    let downloads = Downloads::of(&nats).await;
    assert_eq!(downloads.subjects().await, [DEADLINE, DEBOUNCE]);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn the_debounce_moves_with_the_last_delivery_and_the_deadline_stays_with_the_first() {
    let nats = Nats::start().await;
    let start = Clock::system().now();
    let context = Context {
        clock: Clock::manual(start),
        ..Context::new("webhook-receiver")
    };
    let clock = context.clock.clone();
    let receiver = Receiver::start_in(config(&nats.url()), context).await.ready().await;
    assert_eq!(receiver.status(&Delivery::of_issue("first", "edited", 7)).await, 202);
    clock.advance(Duration::from_secs(60));
    assert_eq!(receiver.status(&Delivery::of_issue("last", "labeled", 7)).await, 202);

    let downloads = Downloads::of(&nats).await;
    let (cause, at) = downloads.request(DEBOUNCE).await;
    assert_eq!(at, Some(start + Duration::from_secs(360)));
    let last = cause.last_delivery.expect("a webhook's request names its delivery");
    assert_eq!((last.delivery_id.as_str(), last.event.as_str()), ("last", "issues"));
    assert_eq!((last.hook_id, last.action.as_str()), (77, "labeled"));
    let (cause, at) = downloads.request(DEADLINE).await;
    assert_eq!(at, Some(start + Duration::from_secs(1800)));
    let first = cause.first_delivery.expect("a webhook's request names its delivery");
    assert_eq!(first.delivery_id, "first");
    let requested_at: Option<OffsetDateTime> = cause.first_requested_at.as_ref().and_then(time_of);
    assert_eq!(requested_at, Some(start));
    receiver.stop().await;
}

#[tokio::test]
async fn a_delivery_that_github_repeats_is_stored_once() {
    let nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    let delivery = Delivery::of_issue("d1", "edited", 7);
    let downloads = Downloads::of(&nats).await;
    assert_eq!(receiver.status(&delivery).await, 202);
    let stored = downloads.last_sequence().await;
    assert_eq!(receiver.status(&delivery).await, 202);
    assert_eq!(downloads.last_sequence().await, stored);
    let takedown = Delivery::of_issue("d2", "deleted", 7);
    assert_eq!(receiver.status(&takedown).await, 202);
    assert_eq!(receiver.status(&takedown).await, 202);
    assert_eq!(downloads.last_sequence().await, stored + 1);
    receiver.stop().await;
}

#[tokio::test]
async fn a_takedown_is_due_at_once() {
    let nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    let mut moderated = issue("edited", 9);
    moderated["issue"]["title"] = json!("In the moderation queue.");
    moderated["changes"] = json!({"title": {"from": "before"}});
    for delivery in [
        Delivery::of_issue("d1", "deleted", 7),
        Delivery::of_issue("d2", "transferred", 8),
        Delivery::new("d3", "issues", moderated.to_string()),
    ] {
        assert_eq!(receiver.status(&delivery).await, 202);
    }
    let downloads = Downloads::of(&nats).await;
    let expected: Vec<_> = (7..10)
        .map(|n| format!("download.bugstream-test.web-bugs.{n}"))
        .collect();
    assert_eq!(downloads.subjects().await, expected);
    let (cause, at) = downloads.request(DOWNLOAD).await;
    assert_eq!(at, None);
    assert_eq!(cause.last_delivery.expect("its delivery").action, "deleted");
    receiver.stop().await;
}

#[tokio::test]
async fn without_a_quiet_time_everything_is_due_at_once() {
    let nats = Nats::start().await;
    let mut config = config(&nats.url());
    config.inactivity_delay = Duration::ZERO;
    let receiver = Receiver::start(config).await.ready().await;
    assert_eq!(receiver.status(&Delivery::of_issue("d1", "edited", 7)).await, 202);
    assert_eq!(Downloads::of(&nats).await.subjects().await, [DOWNLOAD]);
    receiver.stop().await;
}

#[tokio::test]
async fn a_debounce_becomes_a_download_by_itself() {
    let nats = Nats::start().await;
    let mut config = config(&nats.url());
    config.inactivity_delay = Duration::from_secs(1);
    let receiver = Receiver::start(config).await.ready().await;
    assert_eq!(receiver.status(&Delivery::of_issue("d1", "edited", 7)).await, 202);
    let downloads = Downloads::of(&nats).await;
    bugstream_testkit::wait::until_true("the debounce fires", crate::harness::SOON, || async {
        downloads.subjects().await.contains(&DOWNLOAD.to_owned())
    })
    .await;
    let (cause, _) = downloads.request(DOWNLOAD).await;
    assert_eq!(cause.last_delivery.expect("its delivery").delivery_id, "d1");
    receiver.stop().await;
}

#[tokio::test]
async fn either_secret_is_good_while_one_is_rotated_and_a_form_is_as_good_as_json() {
    let nats = Nats::start().await;
    let mut config = config(&nats.url());
    config.secrets.insert(0, Secret::new("the new secret"));
    let receiver = Receiver::start(config).await.ready().await;
    let old = Delivery::of_issue("d1", "edited", 1);
    assert_eq!(receiver.status(&old).await, 202);
    let new = Delivery::of_issue("d2", "edited", 2);
    let signature = sign("the new secret", &new.body);
    assert_eq!(receiver.status(&new.with("x-hub-signature-256", &signature)).await, 202);
    let form: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &issue("edited", 3).to_string())
        .finish();
    let form = Delivery::new("d3", "issues", form).with("content-type", "application/x-www-form-urlencoded");
    assert_eq!(receiver.status(&form).await, 202);
    let wanted: BTreeSet<_> = (1..4)
        .map(|n| format!("debounce.bugstream-test.web-bugs.{n}"))
        .collect();
    let subjects: BTreeSet<_> = Downloads::of(&nats).await.subjects().await.into_iter().collect();
    assert!(subjects.is_superset(&wanted), "{subjects:?}");
    receiver.stop().await;
}

#[tokio::test]
async fn what_is_not_ours_is_204_and_leaves_nothing() {
    let nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    let mut elsewhere = issue("edited", 7);
    elsewhere["repository"]["full_name"] = json!("someone/else");
    for delivery in [
        Delivery::new("d1", "ping", json!({"zen": "Design for failure."}).to_string()),
        Delivery::new("d2", "push", json!({"ref": "refs/heads/main"}).to_string()),
        Delivery::new("d3", "issues", elsewhere.to_string()),
        partners("d4", "edited", "it names bugstream-test/web-bugs-private#7 and #8"),
    ] {
        assert_eq!(receiver.status(&delivery).await, 204);
    }
    assert_eq!(Downloads::of(&nats).await.last_sequence().await, 0);
    receiver.stop().await;
}

#[tokio::test]
async fn a_private_partners_delivery_refreshes_the_public_issue_and_is_no_witness_of_its_end() {
    let nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    let downloads = Downloads::of(&nats).await;
    let edited = partners("d1", "edited", "of https://github.com/bugstream-test/web-bugs/issues/7");
    let answer = receiver.send(&edited).await;
    assert_eq!(answer.status(), 202);
    let answer: serde_json::Value = answer.json().await.expect("an object");
    assert_eq!(answer, json!({"queued": ["bugstream-test/web-bugs#7"]}));
    assert_eq!(downloads.subjects().await, [DEADLINE, DEBOUNCE]);

    let deleted = partners("d2", "deleted", "of Bugstream-Test/web-bugs#7");
    assert_eq!(receiver.status(&deleted).await, 202);
    let (cause, at) = downloads.request(DOWNLOAD).await;
    assert_eq!(at, None, "a takedown does not wait");
    let delivery = cause.last_delivery.expect("its delivery");
    assert_eq!((delivery.delivery_id.as_str(), delivery.action.as_str()), ("d2", ""));
    receiver.stop().await;
}

#[tokio::test]
async fn every_recorded_delivery_is_accepted() {
    let nats = Nats::start().await;
    let recorded = fixtures::deliveries();
    assert!(recorded.len() >= 38, "GitHub alone has 38: {}", recorded.len());
    let names: BTreeSet<RepoName> = recorded
        .iter()
        .map(|delivery| delivery.repository.parse().expect("a real repository"))
        .collect();
    let mut config = config(&nats.url());
    config.repositories.0 = names
        .into_iter()
        .map(|name| Repository {
            name,
            private: None,
            public: Vec::new(),
            credentials: None,
        })
        .collect();
    let receiver = Receiver::start(config).await.ready().await;
    let mut expected = BTreeSet::new();
    for (n, one) in recorded.iter().enumerate() {
        let delivery = Delivery::new(&format!("recorded-{n}"), &one.event, one.payload.clone());
        assert_eq!(
            receiver.status(&delivery).await,
            202,
            "{} {} {}",
            one.source,
            one.event,
            one.action
        );
        let repo: RepoName = one.repository.parse().expect("a real repository");
        let issue = repo.issue(one.number).expect("a real number");
        let verb = if matches!(one.action.as_str(), "deleted" | "transferred") {
            Verb::Download
        } else {
            Verb::Debounce
        };
        expected.insert(verb.of(&issue).to_string());
    }
    let subjects: BTreeSet<_> = Downloads::of(&nats).await.subjects().await.into_iter().collect();
    let due: BTreeSet<_> = subjects
        .into_iter()
        .filter(|subject| !subject.starts_with("deadline."))
        .collect();
    assert_eq!(due, expected);
    receiver.stop().await;
}

#[tokio::test]
async fn the_trace_of_a_delivery_begins_here_and_goes_along() {
    let options = bugstream_telemetry::Options {
        service: "webhook-receiver",
        version: "0",
        format: bugstream_telemetry::Format::Text,
        filter: Some("off".to_owned()),
        otlp_endpoint: None,
    };
    let _telemetry = bugstream_telemetry::start(options).expect("no other test starts it");
    let nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    let strangers = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let delivery = Delivery::of_issue("d1", "edited", 7).with("traceparent", strangers);
    assert_eq!(receiver.status(&delivery).await, 202);
    let downloads = Downloads::of(&nats).await;
    let mut traces = BTreeSet::new();
    for subject in [DEBOUNCE, DEADLINE] {
        let headers = downloads.message(subject).await.headers;
        let context = headers.get("traceparent").expect("it has a context").as_str();
        traces.insert(context.split('-').nth(1).map(str::to_owned));
    }
    assert_eq!(traces.len(), 1, "one trace a delivery");
    assert!(!strangers.contains(traces.pop_first().flatten().expect("a trace").as_str()));
    receiver.stop().await;
}
