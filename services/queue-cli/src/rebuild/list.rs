//! `generations list`: what serves, what is kept, what is unfinished.

use bugstream_indexer::generations::{Generation, State};
use serde_json::json;

use crate::report::{Report, size, thousands};

pub(super) fn report(generations: &[Generation]) -> Report {
    let json = json!({ "generations": generations });
    if generations.is_empty() {
        return Report::new("there are no indices: an indexer makes them".to_owned(), json);
    }
    let titles = [
        "generation",
        "kind",
        "state",
        "documents",
        "size",
        "mapping",
        "privacy rules",
    ];
    let mut lines = vec![line(&titles.map(str::to_owned))];
    lines.extend(generations.iter().map(row));
    Report::new(lines.join("\n"), json)
}

fn row(one: &Generation) -> String {
    let is = |current| if current { "current" } else { "changed" };
    line(&[
        one.number.to_string(),
        one.kind.to_string(),
        state(one),
        thousands(one.documents),
        size(one.bytes),
        is(one.mapping_is_current).to_owned(),
        is(one.privacy_is_current).to_owned(),
    ])
}

fn line([number, kind, state, documents, size, mapping, privacy]: &[String; 7]) -> String {
    format!("{number:<10}  {kind:<9}  {state:<10}  {documents:>11}  {size:>9}  {mapping:<7}  {privacy}")
}

fn state(one: &Generation) -> String {
    let state = match (one.live, one.state, &one.alias) {
        (true, ..) => "serves",
        (false, State::Building, _) => "unfinished",
        (false, State::Complete, Some(alias)) => return format!("kept as {alias}"),
        (false, State::Complete, None) => "kept",
    };
    state.to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use bugstream_archive::names::Kind;
    use bugstream_indexer::generations::Purpose;

    use super::*;
    use crate::cli::Output;

    pub(in crate::rebuild) fn generation(number: u32, live: bool) -> Generation {
        Generation {
            kind: Kind::Issues,
            number,
            live,
            state: State::Complete,
            mapping_is_current: true,
            privacy_is_current: live,
            followed_to: None,
            purpose: Purpose::default(),
            alias: None,
            documents: 1_234,
            bytes: 1_200_000,
        }
    }

    #[test]
    fn the_table_says_what_each_is_for() {
        let unfinished = Generation {
            kind: Kind::Timelines,
            state: State::Building,
            ..generation(4, false)
        };
        let list = report(&[generation(2, false), generation(3, true), unfinished]);
        insta::assert_snapshot!(list.render(Output::Human), @r#"
        generation  kind       state         documents       size  mapping  privacy rules
        2           issues     kept              1,234     1.2 MB  current  changed
        3           issues     serves            1,234     1.2 MB  current  current
        4           timelines  unfinished        1,234     1.2 MB  current  changed
        "#);
        assert!(report(&[]).render(Output::Human).starts_with("there are no indices"));
    }
}
