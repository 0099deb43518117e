//! `deletions`: what the fuse holds back, and a person's decision about it.
//!
//! The fuse blows when GitHub says that very many issues are gone at once. From then on nothing is deleted until someone
//! looked: `approve` lets all through that GitHub still says are gone, `discard` keeps them all.

use bugstream_kit::deletions::{Deletions as Records, DeletionsError, FuseRecord, Sighting};
use bugstream_proto::IssueId;
use serde_json::{Value, json};

use crate::cli::Deletions;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{Report, counted, time_of};

pub(crate) async fn run(command: &Deletions, deps: &Deps) -> Result<Report, Failure> {
    let broker = deps.broker().await?;
    let records = Records::open(&broker).await.map_err(failed)?;
    let now = deps.context().clock.now();
    match command {
        Deletions::List => {
            let held = records.pending().await.map_err(failed)?;
            Ok(list(&records.fuse().await.map_err(failed)?, &held))
        }
        Deletions::Approve => Ok(approved(&records.approve(now).await.map_err(failed)?)),
        Deletions::Discard => Ok(discarded(&records.discard(now).await.map_err(failed)?)),
    }
}

fn failed(error: DeletionsError) -> Failure {
    Failure::failed(error.to_string())
}

fn list(fuse: &FuseRecord, held: &[Sighting]) -> Report {
    let mut lines = vec![match fuse.blown_at {
        Some(at) => format!("fuse blown at {}: nothing is deleted until you decide", time_of(at)),
        None => "fuse closed: deletions go through".to_owned(),
    }];
    lines.extend(held.iter().map(row));
    if !held.is_empty() {
        lines.push(format!("{} held back", counted(held.len() as u64, "deletion")));
    }
    if !held.is_empty() || fuse.blown_at.is_some() {
        lines.push(
            "  queue-cli deletions approve   deletes them, where GitHub still says that they are gone".to_owned(),
        );
        lines.push("  queue-cli deletions discard   keeps them".to_owned());
    }
    let json = json!({ "blown_at": fuse.blown_at.map(time_of), "held": held.iter().map(entry).collect::<Vec<_>>() });
    Report::new(lines.join("\n"), json)
}

fn row(sighting: &Sighting) -> String {
    let evidence = &sighting.evidence;
    let (issue, since) = (sighting.issue.to_string(), time_of(evidence.first_seen));
    format!("  {issue:<40}  GitHub says {} since {since}", evidence.status)
}

fn entry(sighting: &Sighting) -> Value {
    json!({
        "issue": sighting.issue.to_string(),
        "status": sighting.evidence.status,
        "first_seen": time_of(sighting.evidence.first_seen),
    })
}

fn approved(issues: &[IssueId]) -> Report {
    let then = "each is looked at once more and deleted if GitHub still says that it is gone";
    Report::new(decided("approved", issues, then), json!({ "approved": names(issues) }))
}

fn discarded(issues: &[IssueId]) -> Report {
    let then = "the archive keeps the issues";
    Report::new(
        decided("discarded", issues, then),
        json!({ "discarded": names(issues) }),
    )
}

fn decided(how: &str, issues: &[IssueId], then: &str) -> String {
    match issues.len() as u64 {
        0 => "nothing was held back; deletions go through".to_owned(),
        count => format!("{how} {}: {then}", counted(count, "deletion")),
    }
}

fn names(issues: &[IssueId]) -> Vec<String> {
    issues.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use bugstream_kit::deletions::{Evidence, Stage};
    use bugstream_proto::RepoName;
    use time::macros::datetime;

    use super::*;
    use crate::cli::Output;

    fn sighting(number: u64, status: u16) -> Sighting {
        let repository: RepoName = "webcompat/web-bugs".parse().expect("a repository");
        Sighting {
            issue: repository.issue(number).expect("a number"),
            evidence: Evidence {
                status,
                first_seen: datetime!(2026-11-21 09:30:00.25 UTC),
                stage: Stage::Blocked,
            },
        }
    }

    #[test]
    fn a_blown_fuse_shows_what_waits_and_what_to_do() {
        let fuse = FuseRecord {
            blown_at: Some(datetime!(2026-11-21 09:41:07 UTC)),
            ..FuseRecord::default()
        };
        let report = list(&fuse, &[sighting(41, 404), sighting(12_345, 410)]);
        insta::assert_snapshot!(report.render(Output::Human), @r#"
        fuse blown at 2026-11-21T09:41:07Z: nothing is deleted until you decide
          webcompat/web-bugs#41                     GitHub says 404 since 2026-11-21T09:30:00Z
          webcompat/web-bugs#12345                  GitHub says 410 since 2026-11-21T09:30:00Z
        2 deletions held back
          queue-cli deletions approve   deletes them, where GitHub still says that they are gone
          queue-cli deletions discard   keeps them
        "#);
        insta::assert_snapshot!(report.render(Output::Json), @r#"{"blown_at":"2026-11-21T09:41:07Z","held":[{"first_seen":"2026-11-21T09:30:00Z","issue":"webcompat/web-bugs#41","status":404},{"first_seen":"2026-11-21T09:30:00Z","issue":"webcompat/web-bugs#12345","status":410}]}"#);
    }

    #[test]
    fn a_closed_fuse_says_so() {
        insta::assert_snapshot!(list(&FuseRecord::default(), &[]).render(Output::Human), @r#"fuse closed: deletions go through"#);
        insta::assert_snapshot!(approved(&[]).render(Output::Human), @r#"nothing was held back; deletions go through"#);
        insta::assert_snapshot!(discarded(&[sighting(7, 404).issue]).render(Output::Human), @r#"discarded 1 deletion: the archive keeps the issues"#);
        insta::assert_snapshot!(discarded(&[sighting(7, 404).issue]).render(Output::Json), @r#"{"discarded":["webcompat/web-bugs#7"]}"#);
    }
}
