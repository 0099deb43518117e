//! Timelines that are long, that change while they are walked, and whose pages are not what they should be.

use bugstream_testkit::github::{Change, Fault, FaultRule, Meanwhile, Options, Route};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::{REPOSITORY, simulator};

const WALK: &str = "/repos/bugstream-demo/web-bugs/issues/3/timeline?per_page=100";

#[tokio::test]
async fn three_thousand_events_are_thirty_pages_and_a_rest() {
    let (sim, client) = simulator(Options::default()).await;
    let before = sim.timeline(3).unwrap().len();
    sim.lengthen(3, 3_000).unwrap();
    let walked = client.walk(WALK).await;
    assert_eq!(walked.len(), before + 3_000);
    assert_eq!(walked, sim.timeline(3).unwrap());
    let comments = walked.iter().filter(|event| event["event"] == "commented").count();
    assert_eq!(sim.issue(3).unwrap()["comments"], comments);
    let pages = u64::try_from((before + 3_000).div_ceil(100)).unwrap();
    assert_eq!(sim.requests().count(Route::Timeline, 3), pages);
}

/// How often each event of a walk came, by what has an id.
fn doubled(walked: &[Value]) -> usize {
    let ids: Vec<&Value> = walked.iter().filter_map(|event| event.get("id")).collect();
    ids.iter()
        .enumerate()
        .filter(|(index, id)| ids[..*index].contains(*id))
        .count()
}

#[tokio::test]
async fn a_walk_over_a_changing_timeline_meets_events_twice_or_never_and_the_next_one_is_whole() {
    let (sim, client) = simulator(Options::default()).await;
    sim.lengthen(3, 250).unwrap();
    sim.during_walk(3, 1, 1, Meanwhile::Insert(0));
    let walked = client.walk(WALK).await;
    assert_eq!(doubled(&walked), 1, "the last event of page 1 moved to page 2");
    sim.during_walk(3, 2, 1, Meanwhile::Remove(150));
    let before = sim.timeline(3).unwrap();
    let walked = client.walk(WALK).await;
    assert_eq!(
        walked.len(),
        before.len() - 1,
        "the first event of page 3 moved to page 2"
    );
    assert_ne!(walked, sim.timeline(3).unwrap());
    assert_eq!(client.walk(WALK).await, sim.timeline(3).unwrap());
    let edit = Meanwhile::Edit(vec![Change::Label("zebra".to_owned())]);
    sim.during_walk(3, 1, 1, edit);
    let walked = client.walk(WALK).await;
    assert_eq!(
        walked.last().unwrap()["label"]["name"],
        "zebra",
        "what comes at the end is seen"
    );
}

#[tokio::test]
async fn a_link_can_loop_or_lead_away() {
    let (sim, client) = simulator(Options::default()).await;
    sim.lengthen(3, 250).unwrap();
    sim.fault(FaultRule::next(1, Fault::LinkLoop).route(Route::Timeline).page(2));
    let first = client.get(WALK).await;
    let second = client.get(&first.link("next").unwrap()).await;
    let third = client.get(&second.link("next").unwrap()).await;
    assert_eq!((second.status, third.text), (200, first.text));
    let elsewhere = Fault::LinkTo("https://elsewhere.example".to_owned());
    sim.fault(FaultRule::next(1, elsewhere).issue(3));
    let next = client.get(WALK).await.link("next").unwrap();
    assert!(
        next.starts_with("https://elsewhere.example/repos/") && next.ends_with("page=2"),
        "{next}"
    );
}

#[tokio::test]
async fn one_page_can_be_what_no_page_should_be() {
    let (sim, client) = simulator(Options::default()).await;
    sim.lengthen(3, 150).unwrap();
    let second = format!("{WALK}&page=2");
    let right = client.get(&second).await.text;
    let raw = async || {
        let response = client
            .http
            .get(format!("{}{second}", client.base))
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap())
    };
    for fault in [Fault::Html, Fault::HtmlAsJson, Fault::InvalidUtf8, Fault::HalfBody] {
        sim.fault(FaultRule::next(1, fault.clone()).page(2));
        assert!(client.get(WALK).await.json().is_array(), "another page is not met");
        let (status, body) = raw().await;
        assert_eq!(status, 200);
        assert!(serde_json::from_slice::<Value>(&body).is_err(), "{fault:?}");
        assert_eq!(std::str::from_utf8(&body).is_err(), fault == Fault::InvalidUtf8);
    }
    assert_eq!(raw().await.1, right);
}

#[tokio::test]
async fn a_hundred_megabytes_flow_without_being_held() {
    const SIZE: u64 = 100_000_000;
    let (sim, client) = simulator(Options::default()).await;
    sim.fault(FaultRule::next(1, Fault::Huge(SIZE)));
    let response = client.http.get(format!("{}{WALK}", client.base)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.content_length()), (200, None));
    let mut body = response.bytes_stream();
    let (mut first, mut last, mut size) = (None, None, 0);
    while let Some(piece) = body.next().await {
        let piece = piece.unwrap();
        first = first.or(piece.first().copied());
        last = piece.last().copied();
        size += piece.len() as u64;
    }
    assert_eq!((first, last), (Some(b'['), Some(b']')));
    assert!((SIZE..SIZE + 200_000).contains(&size), "{size}");
}

#[tokio::test]
async fn an_issue_that_becomes_a_discussion_stays_closed_and_locked() {
    let (sim, client) = simulator(Options::default()).await;
    let number = sim.open("A question", "How?").await.unwrap();
    sim.convert_to_discussion(number).await.unwrap();
    let issue = client.get(&format!("{REPOSITORY}/issues/{number}")).await;
    assert_eq!(issue.status, 200);
    assert_eq!(
        (&issue.json()["state"], &issue.json()["locked"]),
        (&"closed".into(), &true.into())
    );
    let last = sim.timeline(number).unwrap().pop().unwrap();
    assert_eq!(last["event"], "converted_to_discussion");
}
