//! The issue's documents: stubs in every generation, those that show a past time too; and who else's documents name it.

use std::sync::Arc;

use bugstream_archive::names::Kind;
use bugstream_archive::{Marks, issue_document_id, stub, timeline_document_id};
use bugstream_indexer::bulk::{Batch, Bulker, Written};
use bugstream_indexer::config::Config;
use bugstream_indexer::indices::Indices;
use bugstream_indexer::plan::{Slot, issue_writes, timeline_writes};
use bugstream_indexer::target::Target;
use bugstream_kit::elastic::{Method, Transport};
use bugstream_proto::{Event, IssueId, RepoName};
use serde_json::{Value, json};

use super::failed;
use crate::deps::Deps;
use crate::failure::Failure;

/// Other issues in one answer.
const ROWS: usize = 1_000;
/// Members of a timeline event that are another issue, with its title.
const NESTED: [&str; 5] = ["source.issue", "sub_issue", "parent_issue", "blocked_by", "blocking"];

pub(super) struct Documents {
    transport: Transport,
    indices: Arc<Indices>,
    config: Config,
}

impl Documents {
    pub(super) fn open(deps: &Deps) -> Result<Self, Failure> {
        let config = Config::read(deps.settings())?;
        let open = |error: anyhow::Error| Failure::failed(format!("{error:#}"));
        let transport = bugstream_kit::elastic::transport(&config.elasticsearch).map_err(open)?;
        let (_, indices) = bugstream_indexer::rebuild::indices(&config).map_err(open)?;
        Ok(Self {
            transport,
            indices,
            config,
        })
    }

    /// How many documents of the issue can be found in any generation.
    pub(super) async fn count(&self, issue: &IssueId) -> Result<u64, Failure> {
        let all = self.all();
        let refresh = format!("/{all}/_refresh?expand_wildcards=all&ignore_unavailable=true");
        self.call(Method::Post, &refresh, None).await?;
        let path = format!("/{all}/_count?expand_wildcards=all&ignore_unavailable=true");
        let query = json!({"query": {"bool": {"filter": of_issue(issue)}}});
        let answer = self.call(Method::Post, &path, Some(query)).await?;
        answer["count"]
            .as_u64()
            .ok_or_else(|| failed("Elasticsearch does not count"))
    }

    /// Makes everything below the marks a stub, in every generation, with the version that an indexer would use.
    pub(super) async fn bury(&self, forgotten: &Event, deps: &Deps) -> Result<(), Failure> {
        let targets = self.targets().await?;
        let (bulker, senders) = Bulker::new(
            self.transport.clone(),
            Arc::clone(&self.indices),
            self.config.indexer.bulk(),
            deps.context().chance.clone(),
        );
        let write = async move {
            for target in targets {
                write_stubs(&target, forgotten, &bulker).await?;
            }
            Ok(())
        };
        let (written, sent) = tokio::join!(write, senders.run());
        sent.map_err(failed)?;
        written
    }

    async fn targets(&self) -> Result<Vec<Target>, Failure> {
        let names = self.indices.names();
        let generations = self.indices.generations().await.map_err(failed)?;
        let target = generations.into_iter().map(|one| match one.purpose.as_of {
            None => Target::generation(names.clone(), one.number, Some(one.kind)),
            Some(_) => Target::past(names.clone(), one.number, Some(one.kind)),
        });
        Ok(target.collect())
    }

    /// Other issues whose timelines have events that carry this one with its title, in their order.
    pub(super) async fn naming(&self, issue: &IssueId) -> Result<Vec<IssueId>, Failure> {
        let path = format!(
            "/{}/_search?expand_wildcards=all&ignore_unavailable=true",
            self.timelines()
        );
        let (mut naming, mut after) = (Vec::new(), None);
        loop {
            let answer = self
                .call(Method::Post, &path, Some(who_names(issue, after.as_ref())))
                .await?;
            let page = &answer["aggregations"]["issues"];
            let rows = page["buckets"].as_array().map(Vec::as_slice).unwrap_or_default();
            naming.extend(rows.iter().filter_map(|row| other(&row["key"])));
            after = page.get("after_key").cloned();
            if rows.len() < ROWS || after.is_none() {
                naming.sort();
                naming.retain(|other| other != issue);
                return Ok(naming);
            }
        }
    }

    /// Asks Elasticsearch to drop from its files what was overwritten, where that is much of a file. It does so behind
    /// our back and takes its time.
    pub(super) async fn ask_for_a_merge(&self) -> bool {
        let options =
            "only_expunge_deletes=true&wait_for_completion=false&expand_wildcards=all&ignore_unavailable=true";
        let path = format!("/{}/_forcemerge?{options}", self.all());
        self.call(Method::Post, &path, None).await.is_ok()
    }

    fn all(&self) -> String {
        format!(
            "{}bugstream-issues-*,{}",
            self.config.elasticsearch.prefix,
            self.timelines()
        )
    }

    fn timelines(&self) -> String {
        format!("{}bugstream-timelines-*", self.config.elasticsearch.prefix)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let answer = bugstream_indexer::elastic::call(&self.transport, method, path, body).await;
        match answer.map_err(|away| failed(away.0))? {
            (200..300, answer) => Ok(answer),
            (status, answer) => {
                let why = answer["error"]["type"].as_str().unwrap_or("no reason");
                Err(failed(format!("Elasticsearch answers {status} ({why})")))
            }
        }
    }
}

async fn write_stubs(target: &Target, forgotten: &Event, bulker: &Bulker) -> Result<(), Failure> {
    let (issue, revision) = (&forgotten.issue, forgotten.revision);
    let marks = Marks::from(&forgotten.marks);
    let mut batch = Batch::default();
    for write in timeline_writes(marks, None).chain(issue_writes(marks, None)) {
        let (kind, id) = match write.slot {
            Slot::Issue => (Kind::Issues, issue_document_id(issue).to_string()),
            Slot::Position(position) => (
                Kind::Timelines,
                timeline_document_id(issue, position as usize).to_string(),
            ),
        };
        if target.takes(kind) {
            batch.push(target.alias(kind, write.side), &id, revision, |out| stub(revision, out));
        }
    }
    let written = bulker.write(batch).await.map_err(|away| failed(away.0))?;
    let refused = written.iter().filter(|one| matches!(one, Written::Refused(_))).count();
    if refused > 0 {
        return Err(failed(format!(
            "Elasticsearch refuses {refused} stubs: look at its mapping"
        )));
    }
    Ok(())
}

fn of_issue(issue: &IssueId) -> Value {
    json!([
        {"term": {"bug_number": issue.number()}},
        {"term": {"bugstream.repository": issue.repo().to_string()}},
    ])
}

/// A page of the issues whose timelines carry this one.
fn who_names(issue: &IssueId, after: Option<&Value>) -> Value {
    let nested = NESTED.map(|member| {
        let repository = json!({"value": issue.repo().to_string(), "case_insensitive": true});
        json!({"bool": {"filter": [
            {"term": {format!("{member}.number"): issue.number()}},
            {"term": {format!("{member}.repository.full_name.keyword"): repository}},
        ]}})
    });
    let mut sources = json!({"size": ROWS, "sources": [
        {"repository": {"terms": {"field": "bugstream.repository"}}},
        {"number": {"terms": {"field": "bug_number"}}},
    ]});
    if let Some(after) = after {
        sources["after"] = after.clone();
    }
    json!({
        "size": 0,
        "query": {"bool": {"should": nested, "minimum_should_match": 1}},
        "aggs": {"issues": {"composite": sources}},
    })
}

fn other(key: &Value) -> Option<IssueId> {
    let repository: RepoName = key["repository"].as_str()?.parse().ok()?;
    repository.issue(key["number"].as_u64()?).ok()
}
