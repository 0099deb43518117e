//! The analyst's page, docs/DATA.md: every example gives what it promises, and the tables of fields are the mappings.

mod kql;
mod meaning;
mod page;

use std::collections::{BTreeMap, BTreeSet};

use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::Change;
use http::Method;
use serde_json::{Value, json};

use crate::stage::{Play, Stage};
use page::Request;

/// Enough for every kind of issue and event of the examples.
const ISSUES: u64 = 150;

#[test]
fn the_tables_of_fields_are_the_mappings() {
    let page = page::text();
    let added = page::fields(&page, "### What Bugstream adds");
    for kind in ["issues", "timelines"] {
        let in_kind = |row: &&page::Field| row.place == "both" || row.place == kind;
        let mut told: BTreeMap<String, String> = page::fields(&page, &format!("### In `{kind}`"))
            .iter()
            .chain(added.iter().filter(in_kind))
            .map(|field| (field.path.clone(), field.kind.clone()))
            .collect();
        for (path, kind) in mapped(kind) {
            assert_eq!(told.remove(&path), Some(kind), "{path}");
        }
        assert_eq!(told, BTreeMap::new(), "told of {kind}, and not mapped");
    }
}

/// Paths of mapped fields, with the words that the page has for their types.
fn mapped(kind: &str) -> BTreeMap<String, String> {
    fn walk(properties: &Value, path: &str, out: &mut BTreeMap<String, String>) {
        for (name, field) in properties.as_object().unwrap() {
            let path = format!("{path}{name}");
            match field.get("properties") {
                Some(inner) => walk(inner, &format!("{path}."), out),
                None => drop(out.insert(path, word_for(field))),
            }
        }
    }
    let file = format!("{}/../indexer/mappings/{kind}.json", env!("CARGO_MANIFEST_DIR"));
    let template: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut out = BTreeMap::new();
    walk(&template["template"]["mappings"]["properties"], "", &mut out);
    out
}

fn word_for(field: &Value) -> String {
    let word = match field["type"].as_str().unwrap() {
        "keyword" if field["index"] == false => "link",
        "object" => "stored",
        "text" if field["analyzer"] == "english" => "English",
        other => other,
    };
    let exact = if field["fields"]["keyword"].is_object() {
        ", keyword"
    } else {
        ""
    };
    format!("{word}{exact}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_analysts_page_finds_what_it_promises() {
    let stage = Stage::set(Play {
        issues: ISSUES,
        ..Play::default()
    })
    .await;
    take_a_label_off(&stage).await;
    stage.queue_cli(&["backfill"]).await;
    stage.drained().await;
    let world = World::of(&stage).await;
    let page = page::text();
    every_kql_line_finds_what_it_means(&page, &stage, &world).await;
    every_request_is_answered(&page, &stage.elastic, &world).await;
    what_it_warns_of_is_so(&stage).await;
    stage.stop().await;
}

/// So that there is an issue that had the label once.
async fn take_a_label_off(stage: &Stage) {
    let label = "type-media";
    let has_it = |number: &u64| {
        stage
            .github
            .issue(*number)
            .is_some_and(|issue| meaning::is_labeled(&issue, label))
    };
    let number = stage
        .github
        .numbers()
        .into_iter()
        .find(has_it)
        .expect("the seed has one");
    stage.github.set_webhook(None);
    let taken = stage.github.edit(number, [Change::Unlabel(label.to_owned())]);
    taken.await.unwrap();
}

/// Every document that an analyst may see.
struct World {
    issues: BTreeMap<String, Value>,
    timelines: BTreeMap<String, Value>,
}

impl World {
    async fn of(stage: &Stage) -> Self {
        let numbers = stage.github.numbers();
        let events = numbers
            .iter()
            .map(|number| stage.github.timeline(*number).unwrap().len());
        let world = Self {
            issues: stage.search("issues", json!({"match_all": {}})).await,
            timelines: stage.search("timelines", json!({"match_all": {}})).await,
        };
        assert_eq!(world.issues.len(), numbers.len());
        assert_eq!(world.timelines.len(), events.sum::<usize>());
        world
    }

    fn documents(&self, view: &str) -> &BTreeMap<String, Value> {
        if view == "issues" {
            &self.issues
        } else {
            &self.timelines
        }
    }

    /// Ids of the documents for which that is true.
    fn ids(&self, view: &str, is_meant: impl Fn(&Value) -> bool) -> BTreeSet<&str> {
        let all = self.documents(view).iter();
        all.filter(|(_, document)| is_meant(document))
            .map(|(id, _)| &**id)
            .collect()
    }
}

async fn every_kql_line_finds_what_it_means(page: &str, stage: &Stage, world: &World) {
    let lines = page::kql(page);
    assert!(lines.len() >= 20, "{lines:?}");
    let mut wrong = Vec::new();
    for (view, line) in lines {
        let meant =
            meaning::of(&view, &line).unwrap_or_else(|| panic!("say in meaning.rs what this means: {view}: {line}"));
        let found = stage.search(&view, kql::to_query(&line)).await;
        let found: BTreeSet<&str> = found.keys().map(String::as_str).collect();
        let meant = world.ids(&view, meant);
        if found.is_empty() || found != meant {
            wrong.push(format!("{view}: {line}: {} found, {} meant", found.len(), meant.len()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn every_request_is_answered(page: &str, elastic: &Elastic, world: &World) {
    let requests = page::requests(page);
    let searches: Vec<&Request> = requests
        .iter()
        .filter(|request| !request.path.starts_with("/_security"))
        .collect();
    assert!(searches.len() >= 18, "{requests:?}");
    for request in searches {
        elastic.refresh().await;
        let (status, answer) = elastic
            .call(
                request.method.clone(),
                &in_test(&request.path, elastic),
                request.body.as_ref(),
            )
            .await;
        assert_eq!(status, 200, "{request:?}: {answer}");
        assert!(is_sensible(&answer), "{request:?} finds nothing: {answer}");
        meaning::check(request, &answer, &world.issues, &world.timelines);
    }
}

async fn what_it_warns_of_is_so(stage: &Stage) {
    let id = format!("/{}/_doc/bugstream-demo%2Fweb-bugs%2F42", stage.elastic.name("issues"));
    assert_eq!(
        stage.elastic.call(Method::GET, &id, None).await.0,
        400,
        "a get by id from two indices"
    );
    let unmapped = json!({"exists": {"field": "milestone.creator.login"}});
    assert!(
        stage.search("issues", unmapped).await.is_empty(),
        "a field that is not mapped finds nothing"
    );
}

/// A path with this test's names: the first part is an index.
fn in_test(path: &str, elastic: &Elastic) -> String {
    format!("/{}", elastic.name(path.trim_start_matches('/')))
}

/// Something was found, and every aggregation has something to show.
fn is_sensible(answer: &Value) -> bool {
    let found = answer["count"].as_u64().or(answer["hits"]["total"]["value"].as_u64());
    let aggregations = answer["aggregations"].as_object().into_iter().flatten();
    let shows = |aggregation: &Value| {
        let buckets = aggregation["buckets"]
            .as_array()
            .is_some_and(|buckets| !buckets.is_empty());
        let values = aggregation["values"]
            .as_object()
            .is_some_and(|values| values.values().all(Value::is_number));
        buckets || values || aggregation["value"].as_u64() > Some(0)
    };
    found > Some(0) && aggregations.map(|(_, aggregation)| aggregation).all(shows)
}

/// The two roles of the page, on a server where privileges count: who has which sees what it says, and nothing else.
/// `ask` sends a request with the privileges of a role.
pub(crate) async fn roles_show_what_the_page_says(
    elastic: &Elastic,
    private: u64,
    ask: impl AsyncFn(Value, String) -> (u16, Value),
) {
    let page = page::text();
    let roles: Vec<Request> = page::requests(&page)
        .into_iter()
        .filter(|request| request.path.starts_with("/_security/role/"))
        .collect();
    assert_eq!(roles.len(), 2);
    for (role, sees_all) in roles.iter().zip([true, false]) {
        assert_eq!(role.method, Method::PUT);
        let mut descriptor = role.body.clone().unwrap();
        let name = role
            .path
            .replace("/role/bugstream-", &format!("/role/{}", elastic.prefix()));
        let names = descriptor["indices"][0]["names"].as_array_mut().unwrap();
        for name in names {
            *name = json!(elastic.name(name.as_str().unwrap()));
        }
        let (status, answer) = elastic.call(Method::PUT, &name, Some(&descriptor)).await;
        assert_eq!(status, 200, "{answer}");
        for (target, is_allowed) in [
            ("issues-public", true),
            ("timelines-public", true),
            ("issues", sees_all),
            ("timelines", sees_all),
            ("issues-private", sees_all),
            ("timelines-private", sees_all),
            ("bugstream-issues-public-000001", false),
            ("bugstream-issues-private-000001", false),
        ] {
            let path = format!("/{}/_search?q=__WEBCOMPAT_PRIVATE_ISSUE__:true", elastic.name(target));
            let (status, answer) = ask(descriptor.clone(), path).await;
            assert_eq!(status, if is_allowed { 200 } else { 403 }, "{name} {target}: {answer}");
            let found = answer["hits"]["total"]["value"].as_u64();
            if target == "issues" && is_allowed {
                assert_eq!(found, Some(private), "{name}");
            }
            assert!(!target.ends_with("-public") || found == Some(0), "{name}: {answer}");
        }
        elastic.call(Method::DELETE, &name, None).await;
    }
}
