//! `rebuild --as-of`: what was true at a past time, in indices of its own.

use bugstream_indexer::rebuild::{Rebuilder, Shown};
use serde_json::json;
use time::OffsetDateTime;

use super::{again, failed, watch};
use crate::cli::Rebuild;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{Report, counted, time_of};

pub(super) async fn run(
    at: OffsetDateTime,
    asked: Rebuild,
    rebuilder: &Rebuilder,
    deps: &Deps,
    progress: &mut Progress<'_>,
) -> Result<Report, Failure> {
    let work = async |tell: watch::Tell<'_>| rebuilder.as_of(at, asked.accept_holes, tell).await;
    let shown = watch::watched(work, deps, progress).await?;
    let asked = Rebuild {
        accept_holes: false,
        ..asked
    };
    let shown = shown.map_err(|error| failed(&error, &again(asked)))?;
    Ok(report(&shown, at))
}

fn report(shown: &Shown, at: OffsetDateTime) -> Report {
    let number = shown.generation;
    let mut lines = vec![format!(
        "generation {number} shows what was true at {}, to those who may see private documents: {}",
        time_of(at),
        shown.aliases.join(", ")
    )];
    if shown.without > 0 {
        lines.push(format!(
            "  without {} that the log knows now and has no event of from before then: not mirrored yet, or no longer kept",
            counted(shown.without, "issue")
        ));
    }
    if !shown.holes.is_empty() {
        let count = counted(shown.holes.len() as u64, "issue");
        let which = shown.holes.join(", ");
        lines.push(format!(
            "  without the content of {count}, whose objects are no longer kept: {which}"
        ));
    }
    lines.push(format!("  queue-cli generations prune {number}   removes it"));
    let json = json!({
        "generation": number,
        "as_of": time_of(at),
        "aliases": shown.aliases,
        "without": shown.without,
        "holes": shown.holes,
    });
    Report::new(lines.join("\n"), json)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::cli::Output;

    #[test]
    fn the_end_says_where_it_is_read_and_what_is_not_in_it() {
        let shown = Shown {
            generation: 5,
            aliases: vec![
                "issues-as-of-20260131_000000".to_owned(),
                "timelines-as-of-20260131_000000".to_owned(),
            ],
            without: 12,
            holes: vec!["a/b#7".to_owned()],
        };
        let shown = report(&shown, datetime!(2026-01-31 0:00 UTC));
        insta::assert_snapshot!(shown.render(Output::Human), @r#"
        generation 5 shows what was true at 2026-01-31T00:00:00Z, to those who may see private documents: issues-as-of-20260131_000000, timelines-as-of-20260131_000000
          without 12 issues that the log knows now and has no event of from before then: not mirrored yet, or no longer kept
          without the content of 1 issue, whose objects are no longer kept: a/b#7
          queue-cli generations prune 5   removes it
        "#);
    }
}
