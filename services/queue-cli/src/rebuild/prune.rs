//! `generations prune`: removes generations that do not serve.

use std::collections::BTreeSet;

use bugstream_indexer::generations::Generation;
use bugstream_indexer::indices::IndexError;
use serde_json::json;

use super::{failed, index_failed, kept, rebuilder};
use crate::cli::Prune;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{Report, size, thousands};

/// Kept besides what serves: the one to go back to.
const KEEP: usize = 1;

pub(super) async fn prune(asked: Prune, deps: &Deps, generations: &[Generation]) -> Result<Report, Failure> {
    let chosen = chosen(asked, generations).map_err(index_failed)?;
    if !asked.dry_run && !chosen.is_empty() {
        let pruned = rebuilder(deps).await?.prune(&chosen).await;
        pruned.map_err(|error| failed(&error, "queue-cli generations prune"))?;
    }
    Ok(report(&chosen, generations, asked.dry_run))
}

/// The named one, or the oldest of those that are complete and serve nobody, in their order.
fn chosen(asked: Prune, generations: &[Generation]) -> Result<Vec<u32>, IndexError> {
    let live: BTreeSet<u32> = generations
        .iter()
        .filter(|one| one.live)
        .map(|one| one.number)
        .collect();
    if let Some(number) = asked.generation {
        return match generations.iter().any(|one| one.number == number) {
            false => Err(IndexError::NoGeneration(number)),
            true if live.contains(&number) => Err(IndexError::Serves(number)),
            true => Ok(vec![number]),
        };
    }
    let old: BTreeSet<u32> = kept(generations).filter(|number| !live.contains(number)).collect();
    let gone = old.len().saturating_sub(asked.keep.unwrap_or(KEEP));
    Ok(old.into_iter().take(gone).collect())
}

fn report(chosen: &[u32], generations: &[Generation], dry_run: bool) -> Report {
    let verb = if dry_run { "would remove" } else { "removed" };
    let lines: Vec<String> = chosen.iter().map(|number| line(verb, *number, generations)).collect();
    let text = if lines.is_empty() {
        "nothing to remove: what serves and what it replaced are kept (queue-cli generations list)".to_owned()
    } else {
        lines.join("\n")
    };
    Report::new(text, json!({ "removed": chosen, "dry_run": dry_run }))
}

fn line(verb: &str, number: u32, generations: &[Generation]) -> String {
    let of_it = || generations.iter().filter(|one| one.number == number);
    let documents: u64 = of_it().map(|one| one.documents).sum();
    let bytes: u64 = of_it().map(|one| one.bytes).sum();
    format!(
        "{verb} generation {number}: {} documents, {}",
        thousands(documents),
        size(bytes)
    )
}

#[cfg(test)]
mod tests {
    use bugstream_archive::names::Kind;
    use bugstream_indexer::generations::State;

    use super::*;
    use crate::cli::Output;
    use crate::rebuild::list::tests::generation;

    fn asked(generation: Option<u32>, keep: Option<usize>) -> Prune {
        Prune {
            generation,
            keep,
            dry_run: true,
        }
    }

    #[test]
    fn what_serves_stays_and_what_is_unfinished_goes_by_name() {
        let still = Generation {
            kind: Kind::Timelines,
            ..generation(2, true)
        };
        let unfinished = Generation {
            state: State::Building,
            ..generation(6, false)
        };
        let all = [
            generation(1, false),
            generation(2, false),
            still,
            generation(3, false),
            generation(4, false),
            generation(5, true),
            unfinished,
        ];
        let found = |number, keep| chosen(asked(number, keep), &all);
        assert_eq!(found(None, None), Ok(vec![1, 3]));
        assert_eq!(found(None, Some(0)), Ok(vec![1, 3, 4]));
        assert_eq!(found(None, Some(7)), Ok(vec![]));
        assert_eq!(found(Some(6), None), Ok(vec![6]));
        assert_eq!(found(Some(5), None), Err(IndexError::Serves(5)));
        assert_eq!(found(Some(2), None), Err(IndexError::Serves(2)));
        assert_eq!(found(Some(9), None), Err(IndexError::NoGeneration(9)));
    }

    #[test]
    fn it_says_what_goes() {
        let all = [generation(1, false), generation(2, true)];
        assert_eq!(
            report(&[1], &all, true).render(Output::Human),
            "would remove generation 1: 1,234 documents, 1.2 MB\n"
        );
        assert!(
            report(&[], &all, false)
                .render(Output::Human)
                .starts_with("nothing to remove")
        );
    }
}
