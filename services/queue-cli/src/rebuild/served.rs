//! What serves after a rebuild or a roll-back, and how to go back.

use bugstream_indexer::generations::Generation;
use bugstream_indexer::rebuild::Rebuilt;
use serde_json::json;

use crate::report::{Report, counted, thousands};

/// `before` is the generation that served before.
pub(super) fn report(rebuilt: &Rebuilt, before: Option<u32>, generations: &[Generation]) -> Report {
    let of_it = generations.iter().filter(|one| one.number == rebuilt.generation);
    let documents: u64 = of_it.map(|one| one.documents).sum();
    let before = before.filter(|before| *before != rebuilt.generation);
    let mut lines = vec![format!(
        "generation {} serves {} documents; live indexing was paused for {:.1} s",
        rebuilt.generation,
        thousands(documents),
        rebuilt.paused.as_secs_f64()
    )];
    lines.extend(missing(&rebuilt.holes));
    lines.extend(before.into_iter().flat_map(|before| what_next(before, generations)));
    let json = json!({
        "generation": rebuilt.generation,
        "before": before,
        "documents": documents,
        "paused_s": rebuilt.paused.as_secs_f64(),
        "holes": rebuilt.holes,
    });
    Report::new(lines.join("\n"), json)
}

fn missing(holes: &[String]) -> Option<String> {
    let count = counted(holes.len() as u64, "issue");
    (!holes.is_empty()).then(|| {
        format!(
            "  without {count} until they are downloaded again: {}",
            holes.join(", ")
        )
    })
}

/// One that serves still, with its other kind of documents, is not to be removed.
fn what_next(before: u32, generations: &[Generation]) -> Vec<String> {
    let mut lines = vec![format!(
        "  queue-cli rollback {before}            lets generation {before} serve again"
    )];
    if !generations.iter().any(|one| one.live && one.number == before) {
        lines.push(format!("  queue-cli generations prune {before}   removes it"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::Output;
    use crate::rebuild::list::tests::generation;

    #[test]
    fn the_end_says_what_serves_and_how_to_go_back() {
        let rebuilt = Rebuilt {
            generation: 3,
            holes: vec!["a/b#7".to_owned()],
            paused: Duration::from_millis(1_240),
        };
        let (old, new) = (generation(2, false), generation(3, true));
        let whole = report(&rebuilt, Some(2), &[old.clone(), new.clone()]);
        insta::assert_snapshot!(whole.render(Output::Human), @r#"
        generation 3 serves 1,234 documents; live indexing was paused for 1.2 s
          without 1 issue until they are downloaded again: a/b#7
          queue-cli rollback 2            lets generation 2 serve again
          queue-cli generations prune 2   removes it
        "#);
        insta::assert_snapshot!(whole.render(Output::Json), @r#"{"before":2,"documents":1234,"generation":3,"holes":["a/b#7"],"paused_s":1.24}"#);
        let one_kind = report(&rebuilt, Some(2), &[Generation { live: true, ..old }, new.clone()]);
        assert!(!one_kind.render(Output::Human).contains("prune"));
        let first = report(&rebuilt, None, &[new]);
        assert!(!first.render(Output::Human).contains("rollback"));
    }
}
