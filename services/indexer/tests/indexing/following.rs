//! The whole service: events in, documents out.

use bugstream_archive::Marks;
use bugstream_kit::requests::Requests;
use bugstream_proto::message::Change;
use bugstream_proto::v1;
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::wait;
use http::Method;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::stage::{PATIENCE, Stage, commented, issue, mentioned_in_private, raw};

fn id(path: &str) -> String {
    format!("demo/web-bugs/{path}")
}

fn at(paths: &[&str], revision: u64) -> Vec<(String, u64)> {
    paths.iter().map(|path| (id(path), revision)).collect()
}

#[tokio::test]
async fn an_event_becomes_an_issue_and_its_timeline() {
    let stage = Stage::start().await;
    let timeline = [commented(1), mentioned_in_private(), commented(2)];
    let revision = stage
        .download(&issue(5), &raw(5, "Videos do not play"), &timeline)
        .await;
    stage.settled().await;
    assert_eq!(stage.visible("issues-public").await, at(&["5"], revision));
    assert_eq!(stage.visible("timelines-public").await, at(&["5/0", "5/2"], revision));
    assert_eq!(
        stage.visible("timelines-private").await,
        at(&["5/1"], revision),
        "it names a private issue"
    );
    assert_eq!(stage.visible("issues-private").await, []);
    let found = stage
        .elastic
        .hits("issues", json!({"query_string": {"query": "title:video"}}))
        .await;
    let document = &found[0]["_source"];
    assert_eq!(
        (&found[0]["_version"], &document["bug_number"]),
        (&json!(revision), &json!(5))
    );
    assert_eq!(document["bugstream"]["repository"], "demo/web-bugs");
    assert_eq!(document["bugstream"]["timeline_events"], 3);
    assert_eq!(document["user"], raw(5, "")["user"], "GitHub's own values");
    stage.stop().await;
}

#[tokio::test]
async fn edits_shorter_timelines_and_deletions_leave_nothing_behind() {
    let stage = Stage::start().await;
    let five: Vec<_> = (0..5).map(commented).collect();
    stage.download(&issue(5), &raw(5, "first"), &five).await;
    let other = stage.download(&issue(6), &raw(6, "other"), &five[..1]).await;
    stage.settled().await;
    let second = stage.download(&issue(5), &raw(5, "second"), &five[..2]).await;
    stage.settled().await;
    assert_eq!(
        stage.visible("timelines").await,
        [at(&["5/0", "5/1"], second), at(&["6/0"], other)].concat()
    );
    stage.delete(&issue(5)).await;
    stage.settled().await;
    assert_eq!(stage.visible("issues").await, at(&["6"], other));
    assert_eq!(stage.visible("timelines").await, at(&["6/0"], other));
    let back = stage.download(&issue(5), &raw(5, "restored"), &five[..1]).await;
    stage.settled().await;
    assert_eq!(
        stage.visible("issues").await,
        [at(&["5"], back), at(&["6"], other)].concat()
    );
    assert_eq!(
        stage.visible("timelines").await,
        [at(&["5/0"], back), at(&["6/0"], other)].concat()
    );
    stage.stop().await;
}

#[tokio::test]
async fn an_issue_that_turns_private_and_back_is_found_where_it_belongs() {
    let stage = Stage::start().await;
    let timeline = [commented(1), mentioned_in_private(), commented(2)];
    for _ in 0..2 {
        let open = stage.download(&issue(5), &raw(5, "An open title"), &timeline).await;
        stage.settled().await;
        assert_eq!(stage.visible("issues-public").await, at(&["5"], open));
        assert_eq!(stage.visible("issues-private").await, []);
        assert_eq!(stage.visible("timelines-private").await, at(&["5/1"], open));
        let hidden = stage
            .download(&issue(5), &raw(5, "In the moderation queue."), &timeline)
            .await;
        stage.settled().await;
        assert_eq!(stage.visible("issues-public").await, []);
        assert_eq!(stage.visible("timelines-public").await, []);
        assert_eq!(stage.visible("issues-private").await, at(&["5"], hidden));
        assert_eq!(
            stage.visible("timelines-private").await,
            at(&["5/0", "5/1", "5/2"], hidden)
        );
        let merged = stage
            .elastic
            .hits("issues", json!({"term": {"__WEBCOMPAT_PRIVATE_ISSUE__": true}}))
            .await;
        assert_eq!(merged[0]["_source"]["title"], "The real title");
    }
    stage.stop().await;
}

#[tokio::test]
async fn documents_and_indices_removed_by_hand_come_back_by_index_requests() {
    let stage = Stage::start().await;
    let first = stage
        .download(&issue(5), &raw(5, "a"), &[commented(1), mentioned_in_private()])
        .await;
    let second = stage.download(&issue(6), &raw(6, "b"), &[commented(2)]).await;
    stage.settled().await;
    stage.elastic.refresh().await;
    let everything = format!(
        "/{}/_delete_by_query?refresh=true&expand_wildcards=all",
        stage.elastic.name("bugstream-*")
    );
    let (status, _) = stage
        .elastic
        .call(Method::POST, &everything, Some(&json!({"query": {"match_all": {}}})))
        .await;
    assert_eq!(status, 200);
    assert_eq!(stage.visible("issues").await, []);
    stage.nats.publish_by_hand("index.demo.web-bugs.5", "").await.unwrap();
    stage.published_after(&issue(5), first).await;
    stage.settled().await;
    let again = stage.log.newest(&issue(5)).await.unwrap().unwrap().event;
    assert_eq!(again.cause.reason(), v1::Reason::Reindex);
    assert_eq!(stage.visible("issues").await, at(&["5"], again.revision));
    assert_eq!(stage.visible("timelines").await, at(&["5/0", "5/1"], again.revision));
    for index in stage.elastic.indices().await {
        stage
            .elastic
            .call(Method::DELETE, &format!("/{}", stage.elastic.name(&index)), None)
            .await;
    }
    let requests = Requests::new(stage.broker.jetstream.clone());
    for number in [4, 5, 6] {
        let cause = v1::Cause::new(v1::Reason::Range, stage.context.clock.now());
        requests.index(&issue(number), cause).await.unwrap();
    }
    stage.published_after(&issue(5), again.revision).await;
    stage.published_after(&issue(6), second).await;
    stage.settled().await;
    assert_eq!(stage.visible("issues").await.len(), 2);
    assert_eq!(stage.visible("timelines").await.len(), 3);
    assert_eq!(
        stage.dead_letters().await,
        [],
        "an issue that the log does not know is no dead letter"
    );
    stage.stop().await;
}

#[tokio::test]
async fn what_elasticsearch_cannot_index_is_kept_beside_and_the_rest_is_searched() {
    let stage = Stage::start().await;
    stage
        .download(&issue(5), &raw(5, "before"), &[commented(0), commented(1)])
        .await;
    stage.settled().await;
    let odd = json!({"event": "commented", "body": {"odd": "content"}, "actor": {"login": "Bob"}});
    let mut unforeseen = raw(5, "Videos do not play");
    unforeseen["labels"] = json!(["a plain text"]);
    let revision = stage.download(&issue(5), &unforeseen, &[commented(0), odd]).await;
    stage.settled().await;
    assert_eq!(stage.visible("issues").await, at(&["5"], revision));
    assert_eq!(stage.visible("timelines").await, at(&["5/0", "5/1"], revision));
    for (alias, query, field, json) in [
        ("issues", "title:video", "labels", r#"["a plain text"]"#),
        (
            "timelines",
            "bugstream.position:1 AND actor.login:bob",
            "body",
            r#"{"odd":"content"}"#,
        ),
    ] {
        let found = stage
            .elastic
            .hits(alias, json!({"query_string": {"query": query}}))
            .await;
        let additions = &found[0]["_source"]["bugstream"];
        assert_eq!(additions["unindexed"], json!({field: json}));
        assert_eq!(
            additions["error"],
            format!("document_parsing_exception: {field}"),
            "analysts find it by that"
        );
    }
    assert_eq!(stage.dead_letters().await, [], "nothing is to be done");
    stage.stop().await;
}

#[tokio::test]
async fn a_document_at_which_elasticsearch_fails_each_time_does_not_stop_the_others() {
    let stage = Stage::start().await;
    let before = stage.download(&issue(4), &raw(4, "before"), &[commented(0)]).await;
    stage.settled().await;
    let pipeline = format!("/_ingest/pipeline/{}", stage.elastic.name("fails"));
    let fails = json!({"processors": [{"fail": {"message": "no", "if": "ctx.body == 'bad'"}}]});
    assert_eq!(stage.elastic.call(Method::PUT, &pipeline, Some(&fails)).await.0, 200);
    let settings = format!("/{}/_settings", stage.elastic.name("timelines-public"));
    let default = json!({"index.default_pipeline": stage.elastic.name("fails")});
    assert_eq!(stage.elastic.call(Method::PUT, &settings, Some(&default)).await.0, 200);
    let bad = json!({"event": "commented", "body": "bad"});
    let revision = stage.download(&issue(5), &raw(5, "first"), &[commented(0), bad]).await;
    let next = stage.download(&issue(6), &raw(6, "second"), &[commented(0)]).await;
    stage.settled().await;
    assert_eq!(
        stage.visible("timelines").await,
        [at(&["4/0"], before), at(&["5/0", "5/1"], revision), at(&["6/0"], next)].concat()
    );
    let kept = stage
        .elastic
        .hits("timelines", json!({"exists": {"field": "bugstream.error"}}))
        .await;
    let kept = &kept[0]["_source"]["bugstream"];
    assert_eq!(kept["error"], "fail_processor_exception");
    assert_eq!(kept["unindexed"], json!({"event": "\"commented\"", "body": "\"bad\""}));
    assert_eq!(stage.dead_letters().await.len(), 0);
    stage.elastic.call(Method::DELETE, &pipeline, None).await;
    stage.stop().await;
}

#[tokio::test]
async fn what_is_refused_even_so_becomes_an_error_stub_and_a_dead_letter_and_the_rest_goes_on() {
    let elastic = Elastic::shared();
    let by_hand = json!({"settings": {"number_of_replicas": 0}, "mappings": {"dynamic": false, "properties": {
        "body": {"type": "text"},
        "bugstream": {"properties": {"unindexed": {"type": "long"}, "error": {"type": "keyword"}}},
    }}});
    let index = format!("/{}", elastic.name("bugstream-timelines-public-000001"));
    assert_eq!(elastic.call(Method::PUT, &index, Some(&by_hand)).await.0, 200);
    let node = elastic.node().to_owned();
    let mut stage = Stage::prepare(elastic, &node).await;
    stage.follow();
    let secret = json!({"event": "commented", "body": {"secret": "content"}});
    stage
        .download(&issue(5), &raw(5, "before"), &[commented(0), commented(1)])
        .await;
    let revision = stage
        .download(&issue(5), &raw(5, "after"), &[commented(0), secret])
        .await;
    stage.settled().await;
    assert_eq!(stage.visible("issues").await, at(&["5"], revision));
    assert_eq!(
        stage.visible("timelines").await,
        at(&["5/0", "5/1"], revision),
        "no predecessor stays"
    );
    let errors = stage
        .elastic
        .hits("timelines", json!({"exists": {"field": "bugstream.error"}}))
        .await;
    let stub = &errors[0]["_source"]["bugstream"];
    assert_eq!(stub["error"], "document_parsing_exception: bugstream.unindexed");
    assert_eq!(stub.get("unindexed"), None);
    let letters = stage.dead_letters().await;
    let refusal = letters[0].refusal.as_ref().expect("it is about a document");
    assert_eq!(
        (letters.len(), &*letters[0].kind, &*refusal.field),
        (1, "document", "bugstream.unindexed")
    );
    assert_eq!(refusal.document_id, id("5/1"));
    assert!(
        !format!("{letters:?}").contains("secret"),
        "a dead letter quotes no content"
    );
    stage.stop().await;
}

#[tokio::test]
async fn what_can_never_succeed_becomes_a_dead_letter_and_the_rest_goes_on() {
    let stage = Stage::start().await;
    for (subject, payload) in [
        ("issue.demo.web-bugs.1", "garbage"),
        ("issue.demo.web-bugs", ""),
        ("issue.demo.web-bugs.0", ""),
        ("index.demo.web-bugs.x", ""),
        ("index.demo.web-bugs.2", "garbage"),
    ] {
        stage.nats.publish_by_hand(subject, payload).await.unwrap();
    }
    let strange = "else/where"
        .parse::<bugstream_proto::RepoName>()
        .unwrap()
        .issue(3)
        .unwrap();
    stage.download(&strange, &raw(3, "nobody configured it"), &[]).await;
    let good = stage.download(&issue(5), &raw(5, "good"), &[]).await;
    stage
        .download_and_lose(&issue(6), &raw(6, "its objects are lost"))
        .await;
    wait::until_true("seven dead letters", PATIENCE, async || {
        stage.dead_letters().await.len() >= 7
    })
    .await;
    stage.settled().await;
    let mut kinds: Vec<(String, String)> = stage
        .dead_letters()
        .await
        .into_iter()
        .map(|letter| (letter.subject, letter.kind))
        .collect();
    kinds.sort();
    let expected = [
        ("index.demo.web-bugs.2", "payload"),
        ("index.demo.web-bugs.x", "subject"),
        ("issue.demo.web-bugs", "subject"),
        ("issue.demo.web-bugs.0", "subject"),
        ("issue.demo.web-bugs.1", "payload"),
        ("issue.demo.web-bugs.6", "object"),
        ("issue.else.where.3", "other"),
    ];
    assert_eq!(
        kinds,
        expected.map(|(subject, kind)| (subject.to_owned(), kind.to_owned()))
    );
    assert_eq!(stage.visible("issues").await, at(&["5"], good));
    stage.stop().await;
}

/// The rules of privacy changed since the event was made: its marks do not reach the other side of the wall.
#[tokio::test]
async fn an_event_whose_marks_do_not_cover_its_documents_is_published_again() {
    let mut stage = Stage::start().await;
    stage.download(&issue(5), &raw(5, "a"), &[commented(1)]).await;
    stage.settled().await;
    let mention = json!({"event": "cross-referenced", "source": {"issue": {"number": 1, "repository": {"full_name": "demo/friend", "private": false}}}});
    let open = stage.download(&issue(5), &raw(5, "a"), &[mention]).await;
    stage.settled().await;
    assert_eq!(stage.visible("timelines-public").await, at(&["5/0"], open));
    let friend = "demo/friend".parse().unwrap();
    stage
        .restart(|config| config.repositories.0[0].private = Some(friend))
        .await;
    stage.nats.publish_by_hand("index.demo.web-bugs.5", "").await.unwrap();
    wait::until_true("the mention to change sides", PATIENCE, async || {
        stage.visible("timelines-private").await.len() == 1
    })
    .await;
    stage.settled().await;
    let newest = stage.log.newest(&issue(5)).await.unwrap().unwrap().event;
    assert_eq!(stage.visible("timelines-private").await, at(&["5/0"], newest.revision));
    assert_eq!(stage.visible("timelines-public").await, []);
    assert_eq!(Marks::from(&newest.marks).private.timeline, 1);
    stage.stop().await;
}

#[tokio::test]
async fn events_that_were_overtaken_are_skipped() {
    let elastic = Elastic::shared();
    let node = elastic.node().to_owned();
    let mut stage = Stage::prepare(elastic, &node).await;
    let old = stage.download(&issue(5), &raw(5, "old"), &[commented(1)]).await;
    stage.objects.purge_below(&issue(5), old + 1).await.unwrap();
    let newest = stage.log.newest(&issue(5)).await.unwrap();
    let marks = Marks::from(&newest.as_ref().unwrap().event.marks);
    let revision = stage.log.next_revision(newest.as_ref());
    stage
        .publish(
            &issue(5),
            newest.as_ref(),
            revision,
            marks,
            Change::Deleted(v1::IssueDeleted::default()),
        )
        .await;
    let new = stage.download(&issue(5), &raw(5, "new"), &[]).await;
    stage.follow();
    stage.settled().await;
    assert_eq!(stage.visible("issues").await, at(&["5"], new));
    assert_eq!(stage.visible("timelines").await, []);
    assert_eq!(
        stage.dead_letters().await,
        [],
        "the objects of an overtaken event are not missed"
    );
    stage.stop().await;
}

#[tokio::test]
async fn while_elasticsearch_is_away_events_wait_and_readiness_says_so() {
    let elastic = Elastic::shared();
    let door = Door::before(elastic.node().trim_start_matches("http://")).await;
    let mut stage = Stage::prepare(elastic, &door.url).await;
    stage.follow();
    let away = async |stage: &Stage| stage.context.health.away().await;
    wait::until_true("not ready at the start", PATIENCE, async || {
        away(&stage).await.contains_key("indices")
    })
    .await;
    door.open(true);
    wait::until_true("ready", PATIENCE, async || away(&stage).await.is_empty()).await;
    let first = stage.download(&issue(5), &raw(5, "a"), &[]).await;
    stage.settled().await;
    assert_eq!(stage.visible("issues").await, at(&["5"], first));
    door.open(false);
    let second = stage.download(&issue(5), &raw(5, "b"), &[]).await;
    wait::until_true("not ready", PATIENCE, async || {
        away(&stage).await.contains_key("indexer")
    })
    .await;
    assert_eq!(stage.visible("issues").await, at(&["5"], first));
    door.open(true);
    stage.settled().await;
    assert_eq!(stage.visible("issues").await, at(&["5"], second));
    assert_eq!(stage.dead_letters().await, []);
    stage.stop().await;
}

#[tokio::test]
async fn while_indices_are_read_only_events_wait_and_readiness_says_why() {
    let stage = Stage::start().await;
    let first = stage.download(&issue(5), &raw(5, "a"), &[]).await;
    stage.settled().await;
    let settings = format!("/{}/_settings?expand_wildcards=all", stage.elastic.name("bugstream-*"));
    let block = async |on: serde_json::Value| {
        let body = json!({"index.blocks.read_only_allow_delete": on});
        assert_eq!(stage.elastic.call(Method::PUT, &settings, Some(&body)).await.0, 200);
    };
    block(json!(true)).await;
    let second = stage.download(&issue(5), &raw(5, "b"), &[commented(1)]).await;
    wait::until_true("the reason", PATIENCE, async || {
        stage
            .context
            .health
            .away()
            .await
            .get("indexer")
            .is_some_and(|why| why.contains("disk is full"))
    })
    .await;
    assert_eq!(stage.visible("issues").await, at(&["5"], first));
    block(json!(null)).await;
    stage.settled().await;
    assert_eq!(stage.visible("issues").await, at(&["5"], second));
    assert_eq!(stage.dead_letters().await, []);
    stage.stop().await;
}

#[tokio::test]
async fn an_old_index_in_the_way_is_named_with_the_fix_until_someone_moved_it() {
    let elastic = Elastic::shared();
    let old = elastic.name("timelines");
    let document = json!({"event": "labeled", "bug_number": 5});
    let path = format!("/{old}/_doc/1?refresh=true");
    assert_eq!(elastic.call(Method::PUT, &path, Some(&document)).await.0, 201);
    let node = elastic.node().to_owned();
    let mut stage = Stage::prepare(elastic, &node).await;
    stage.follow();
    let health = stage.context.health.clone();
    let why = async || {
        health
            .away()
            .await
            .get("indices")
            .cloned()
            .filter(|why| why.contains(&old))
    };
    let why = wait::until("the name", PATIENCE, why).await;
    let revision = stage.download(&issue(5), &raw(5, "a"), &[]).await;
    let kept = format!("old-{old}");
    for (method, path) in [
        (Method::PUT, format!("/{old}/_block/write")),
        (Method::POST, format!("/{old}/_clone/{kept}")),
        (Method::DELETE, format!("/{old}")),
    ] {
        assert!(why.contains(&format!("{method} {path}")), "{method} {path}: {why}");
        assert_eq!(stage.elastic.call(method, &path, None).await.0, 200, "{path}");
    }
    stage.settled().await;
    assert_eq!(stage.visible("issues").await, at(&["5"], revision));
    assert_eq!(
        stage
            .elastic
            .call(Method::GET, &format!("/{kept}/_doc/1"), None)
            .await
            .1["_source"],
        document
    );
    stage.elastic.call(Method::DELETE, &format!("/{kept}"), None).await;
    stage.stop().await;
}

/// Passes connections on while it is open, and ends them all while it is not. Its port is its own for as long as it
/// lives, so that nobody else takes it meanwhile.
struct Door {
    url: String,
    is_open: watch::Sender<bool>,
    _accepts: JoinSet<()>,
}

impl Door {
    /// A closed one before that server.
    async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_open, opening) = watch::channel(false);
        let (mut accepts, server) = (JoinSet::new(), server.to_owned());
        accepts.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, server.clone(), opening.clone()));
            }
        });
        Self {
            url,
            is_open,
            _accepts: accepts,
        }
    }

    fn open(&self, open: bool) {
        self.is_open.send_replace(open);
    }
}

async fn pass(mut client: TcpStream, server: String, mut opening: watch::Receiver<bool>) {
    let through = async {
        let mut server = TcpStream::connect(server).await.expect("the shared node runs");
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    };
    tokio::select! {
        biased;
        _ = opening.wait_for(|open| !open) => {}
        _ = through => {}
    }
}
