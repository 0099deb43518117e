//! `collect`: removes old revisions and what no event names, now. The downloader does the same by itself, once a day; what
//! may go is told in [`bugstream_kit::retention`].

pub(crate) mod cli;

use bugstream_kit::config::ObjectStore;
use bugstream_kit::log::Log;
use bugstream_kit::objects::Objects;
use bugstream_kit::retention::{CollectError, Collected, Collector, Manner, Retention, Rules};
use bugstream_proto::RepoName;
use serde_json::{Value, json};

use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{Report, counted, size};
use cli::Collect;

pub(crate) async fn run(asked: Collect, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let rules = Retention::read(deps.settings())?.rules;
    let repositories = deps.configured()?;
    let store = ObjectStore::read(deps.settings())?;
    let collector = Collector {
        objects: Objects::open(&store).map_err(|error| Failure::failed(format!("{error:#}")))?,
        log: Log::new(deps.broker().await?.jetstream, deps.context().clock.clone()),
        clock: deps.context().clock.clone(),
        rules,
    };
    progress.doing("looked at");
    let (mut of_each, mut looked_at) = (Vec::new(), 0);
    for repository in &repositories {
        let collected = collect(asked, &repository.name, &collector, &mut looked_at, progress).await?;
        of_each.push((&repository.name, collected));
    }
    Ok(report(&of_each, asked.dry_run, rules))
}

async fn collect(
    asked: Collect,
    repository: &RepoName,
    collector: &Collector,
    looked_at: &mut u64,
    progress: &mut Progress<'_>,
) -> Result<Collected, Failure> {
    let manner = Manner {
        dry_run: asked.dry_run,
        accept_orphans: asked.accept_orphans,
    };
    let (mut collected, mut after) = (Collected::default(), None);
    loop {
        let step = collector
            .step(repository, after.as_deref(), manner)
            .await
            .map_err(failed)?;
        collected.add(step.collected);
        *looked_at += step.collected.issues;
        progress.step(*looked_at);
        if step.next.is_none() {
            return Ok(collected);
        }
        after = step.next;
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: CollectError) -> Failure {
    Failure::failed(error.to_string())
}

fn report(of_each: &[(&RepoName, Collected)], dry_run: bool, rules: Rules) -> Report {
    let lines: Vec<String> = of_each
        .iter()
        .flat_map(|(name, one)| lines(name, one, dry_run, rules))
        .collect();
    let repositories: Vec<Value> = of_each.iter().map(|(name, one)| as_json(name, one)).collect();
    Report::new(
        lines.join("\n"),
        json!({ "dry_run": dry_run, "repositories": repositories }),
    )
}

fn lines(repository: &RepoName, collected: &Collected, dry_run: bool, rules: Rules) -> Vec<String> {
    let Collected {
        issues,
        events,
        objects,
        bytes,
        orphans,
        orphan_bytes,
        unknown,
        unreadable,
    } = *collected;
    let verb = if dry_run { "would collect" } else { "collected" };
    let age = rules.revisions.map_or_else(
        || "old revisions are kept for ever".to_owned(),
        |bound| format!("superseded more than {} ago", counted(bound.as_secs() / 86_400, "day")),
    );
    let mut lines = vec![
        format!("{repository}: looked at {}", counted(issues, "issue")),
        format!(
            "  {verb} {} and {} ({}), {age}",
            counted(events, "event"),
            counted(objects, "object"),
            size(bytes)
        ),
        format!(
            "  {verb} {} ({}) that no event names",
            counted(orphans, "orphan"),
            size(orphan_bytes)
        ),
    ];
    if unknown > 0 {
        lines.push(format!(
            "  left alone: {} of other names than Bugstream gives",
            counted(unknown, "file")
        ));
    }
    if unreadable > 0 {
        let left = counted(unreadable, "issue");
        lines.push(format!(
            "  left alone: {left} with events that this version cannot read; update queue-cli"
        ));
    }
    lines
}

fn as_json(repository: &RepoName, collected: &Collected) -> Value {
    let mut json = serde_json::to_value(collected).unwrap_or_default();
    json["repository"] = repository.to_string().into();
    json
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::Output;

    #[test]
    fn orphans_are_told_apart_and_what_is_strange_is_told_too() {
        let repository: RepoName = "webcompat/web-bugs".parse().expect("a repository");
        let mut collected = Collected {
            issues: 198_412,
            events: 312,
            objects: 620,
            bytes: 41_200_000,
            orphans: 3,
            orphan_bytes: 12_100,
            unknown: 1,
            unreadable: 2,
        };
        let mut rules = Rules {
            revisions: Some(Duration::from_secs(30 * 86_400)),
            orphans: Duration::from_secs(86_400),
        };
        let of_each = [(&repository, collected)];
        insta::assert_snapshot!(report(&of_each, true, rules).render(Output::Human), @r"
        webcompat/web-bugs: looked at 198,412 issues
          would collect 312 events and 620 objects (41.2 MB), superseded more than 30 days ago
          would collect 3 orphans (12.1 kB) that no event names
          left alone: 1 file of other names than Bugstream gives
          left alone: 2 issues with events that this version cannot read; update queue-cli
        ");
        insta::assert_snapshot!(report(&of_each, true, rules).render(Output::Json), @r#"{"dry_run":true,"repositories":[{"bytes":41200000,"events":312,"issues":198412,"objects":620,"orphan_bytes":12100,"orphans":3,"repository":"webcompat/web-bugs","unknown":1,"unreadable":2}]}"#);
        rules.revisions = None;
        collected = Collected::default();
        insta::assert_snapshot!(report(&[(&repository, collected)], false, rules).render(Output::Human), @r"
        webcompat/web-bugs: looked at 0 issues
          collected 0 events and 0 objects (0 B), old revisions are kept for ever
          collected 0 orphans (0 B) that no event names
        ");
    }
}
