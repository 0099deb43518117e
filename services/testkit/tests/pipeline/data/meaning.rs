//! What the examples of docs/DATA.md are to find, said once more over the documents themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::page::Request;

type Documents = BTreeMap<String, Value>;

/// Whether a document is meant by a line of KQL; `None` for a line that nobody has said it of.
pub(super) fn of(view: &str, line: &str) -> Option<fn(&Value) -> bool> {
    let meant: fn(&Value) -> bool = match (view, line) {
        ("issues", "video") => |d| has_word(d, "/title", &VIDEO) || has_word(d, "/body", &VIDEO),
        ("issues", r#"title: playing and body: "Firefox Mobile""#) => {
            |d| has_word(d, "/title", &["play", "plays", "playing"]) && says(d, "/body", "Firefox Mobile")
        }
        ("issues", "title.keyword: *kinobox*") => |d| says(d, "/title", "kinobox"),
        ("issues", "state.keyword: open and milestone.title.keyword: needsdiagnosis") => {
            |d| d["state"] == "open" && d["milestone"]["title"] == "needsdiagnosis"
        }
        ("issues", "labels.name.keyword: (type-media or type-layout) and not labels.name.keyword: needs-info") => {
            |d| (is_labeled(d, "type-media") || is_labeled(d, "type-layout")) && !is_labeled(d, "needs-info")
        }
        ("issues", r#"created_at >= "2024-02-01" and created_at < "2024-03-01""#) => {
            |d| text(d, "/created_at").starts_with("2024-02")
        }
        ("issues", "assignees.login.keyword: *") => |d| d["assignees"][0].is_object(),
        ("issues", "comments >= 5 and state_reason.keyword: not_planned") => {
            |d| d["comments"].as_u64() >= Some(5) && d["state_reason"] == "not_planned"
        }
        ("issues", "pull_request.url: *") => |d| d["pull_request"].is_object(),
        ("issues", "type.name.keyword: Bug or reactions.+1 > 0") => {
            |d| d["type"]["name"] == "Bug" || d["reactions"]["+1"].as_u64() > Some(0)
        }
        ("issues", "__WEBCOMPAT_PRIVATE_ISSUE__: true") => |d| d["__WEBCOMPAT_PRIVATE_ISSUE__"] == true,
        ("timelines", line) => return of_event(line),
        _ => return None,
    };
    Some(meant)
}

const VIDEO: [&str; 2] = ["video", "videos"];

fn of_event(line: &str) -> Option<fn(&Value) -> bool> {
    let meant: fn(&Value) -> bool = match line {
        "event.keyword: labeled and label.name.keyword: severity-critical" => {
            |d| d["event"] == "labeled" && d["label"]["name"] == "severity-critical"
        }
        r#"event.keyword: commented and body: "reduced test case""# => {
            |d| d["event"] == "commented" && says(d, "/body", "Reduced test case")
        }
        "event.keyword: (commented or reviewed) and not author_association.keyword: MEMBER" => {
            |d| (d["event"] == "commented" || d["event"] == "reviewed") && d["author_association"] != "MEMBER"
        }
        r#"event.keyword: milestoned and milestone.title.keyword: fixed and bugstream.occurred_at >= "2024-02-01""# => {
            |d| {
                d["event"] == "milestoned"
                    && d["milestone"]["title"] == "fixed"
                    && text(d, "/created_at") >= "2024-02-01"
            }
        }
        r#"event.keyword: closed and state_reason.keyword: duplicate and actor.login.keyword: "amara-osei""# => {
            |d| d["event"] == "closed" && d["state_reason"] == "duplicate" && d["actor"]["login"] == "amara-osei"
        }
        r#"event.keyword: "cross-referenced" and source.issue.repository.full_name.keyword: "bugstream-demo/web-bugs" and source.issue.number < 50"# => {
            |d| {
                let source = &d["source"]["issue"];
                let is_ours = source["repository"]["full_name"] == "bugstream-demo/web-bugs";
                is_ours && source["number"].as_u64().is_some_and(|number| number < 50)
            }
        }
        "event.keyword: renamed and rename.to: mobile" => {
            |d| d["event"] == "renamed" && says(d, "/rename/to", "mobile")
        }
        "event.keyword: sub_issue_added or event.keyword: parent_issue_added" => {
            |d| d["event"] == "sub_issue_added" || d["event"] == "parent_issue_added"
        }
        "event.keyword: committed and message: review" => {
            |d| d["event"] == "committed" && says(d, "/message", "review")
        }
        _ => return None,
    };
    Some(meant)
}

/// Whether an answer is right, for the requests of which that can be said in a line.
pub(super) fn check(request: &Request, answer: &Value, issues: &Documents, timelines: &Documents) {
    let aggregations = &answer["aggregations"];
    let hits: Vec<&Value> = answer["hits"]["hits"].as_array().into_iter().flatten().collect();
    let count = |documents: &Documents, is_meant: &dyn Fn(&Value) -> bool| {
        documents.values().filter(|document| is_meant(document)).count() as u64
    };
    let found = answer["hits"]["total"]["value"].as_u64().or(answer["count"].as_u64());
    if let Some(buckets) = aggregations["month"]["buckets"].as_array() {
        let plain = count(issues, &|d| d.get("pull_request").is_none());
        assert_eq!(sum(buckets), plain);
        assert!(buckets.len() >= 3, "{buckets:?}");
        assert!(
            buckets
                .iter()
                .all(|month| sum(month["state"]["buckets"].as_array().unwrap()) == sum(std::slice::from_ref(month)))
        );
    }
    if let Some(buckets) = aggregations["labels"]["buckets"].as_array() {
        for bucket in buckets {
            let label = bucket["key"].as_str().unwrap();
            assert_eq!(
                sum(std::slice::from_ref(bucket)),
                count(issues, &|d| is_labeled(d, label)),
                "{label}"
            );
        }
    }
    if aggregations["issues"]["value"].is_number() {
        let labeled = timelines
            .values()
            .filter(|d| d["event"] == "labeled" && d["label"]["name"] == "type-media");
        let ever: BTreeSet<u64> = labeled.filter_map(|d| d["bug_number"].as_u64()).collect();
        assert_eq!(aggregations["issues"]["value"], ever.len());
        assert!(
            count(issues, &|d| is_labeled(d, "type-media")) < ever.len() as u64,
            "some lost it again"
        );
    }
    if let Some(percentiles) = aggregations["days"]["values"].as_object() {
        let (half, slow) = (
            percentiles["50.0"].as_f64().unwrap(),
            percentiles["90.0"].as_f64().unwrap(),
        );
        let longest = issues.values().filter_map(days_open).fold(0.0, f64::max);
        assert!(
            0.0 < half && half <= slow && slow <= longest + 0.01,
            "{percentiles:?} {longest}"
        );
    }
    if let Some(buckets) = aggregations["who"]["buckets"].as_array() {
        let (first, login) = (sum(&buckets[..1]), &buckets[0]["key"]);
        assert_eq!(
            first,
            count(timelines, &|d| d["event"] == "milestoned"
                && d["actor"]["login"] == *login)
        );
    }
    if let Some(buckets) = aggregations["named"]["buckets"].as_array() {
        assert!(
            buckets
                .iter()
                .all(|named| !named["by"]["buckets"].as_array().unwrap().is_empty())
        );
    }
    if let Some(buckets) = aggregations["events"]["buckets"].as_array() {
        assert_eq!(sum(buckets), timelines.len() as u64, "{buckets:?}");
    }
    if let Some(buckets) = aggregations["repository"]["buckets"].as_array() {
        assert_eq!(sum(buckets), issues.len() as u64);
        assert_eq!(
            buckets[0]["open"]["doc_count"],
            count(issues, &|d| d["state"] == "open")
        );
    }
    let body = request.body.clone().unwrap_or_default();
    if body.get("highlight").is_some() {
        assert!(text(hits[0], "/highlight/body/0").contains("<em>"), "{}", hits[0]);
    }
    if body["sort"][0].get("bugstream.position").is_some() {
        let positions: Vec<u64> = hits.iter().filter_map(|hit| hit["sort"][0].as_u64()).collect();
        let of_issue = count(timelines, &|d| d["bug_number"] == 42);
        assert_eq!(positions, (0..of_issue).collect::<Vec<_>>());
    }
    if body.get("search_after").is_some() {
        assert_eq!(
            (hits.len() as u64, found),
            (100.min(issues.len() as u64), Some(issues.len() as u64))
        );
    }
    if let Some(runtime) = body.pointer("/runtime_mappings/milestone.creator.login") {
        assert!(runtime.is_object());
        assert_eq!(
            found,
            Some(count(issues, &|d| d["milestone"]["creator"]["login"] == "amara-osei"))
        );
    }
    if body.to_string().contains("pull_request.merged_at") {
        assert_eq!(
            found,
            Some(count(issues, &|d| d["pull_request"]["merged_at"].is_string()))
        );
    }
    if body["query"].get("ids").is_some() {
        assert_eq!((hits.len(), &hits[0]["_source"]["number"]), (1, &Value::from(42)));
    }
    let meant = match request.path.split_once("q=").map_or("", |(_, query)| query) {
        "labels.name.keyword:type-media" => count(issues, &|d| is_labeled(d, "type-media")),
        "event.keyword:labeled+AND+label.name.keyword:type-media" => count(timelines, &|d| {
            d["event"] == "labeled" && d["label"]["name"] == "type-media"
        }),
        "title:video+AND+state.keyword:open" => {
            count(issues, &|d| has_word(d, "/title", &VIDEO) && d["state"] == "open")
        }
        "milestone.title.keyword:sitewait+AND+created_at:[2024-01-01+TO+2024-03-31]" => count(issues, &|d| {
            d["milestone"]["title"] == "sitewait" && text(d, "/created_at") < "2024-04"
        }),
        "" => return,
        other => panic!("say here what this finds: {other}"),
    };
    assert_eq!(found, Some(meant), "{request:?}");
}

fn sum(buckets: &[Value]) -> u64 {
    buckets.iter().filter_map(|bucket| bucket["doc_count"].as_u64()).sum()
}

fn days_open(issue: &Value) -> Option<f64> {
    let at = |pointer| OffsetDateTime::parse(text(issue, pointer), &Rfc3339).ok();
    Some((at("/closed_at")? - at("/created_at")?).as_seconds_f64() / 86_400.0)
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn says(document: &Value, pointer: &str, words: &str) -> bool {
    text(document, pointer).contains(words)
}

pub(super) fn is_labeled(issue: &Value, name: &str) -> bool {
    issue["labels"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|label| label["name"] == name)
}

/// Whether one of the words is there as a word: a host name is one word as a whole.
fn has_word(document: &Value, pointer: &str, words: &[&str]) -> bool {
    let text = text(document, pointer).to_lowercase();
    let mut found = text
        .split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '\''))
        .map(|word| word.trim_matches('.'));
    found.any(|word| words.contains(&word))
}
