//! Which generation a roll-back leads to, and from where it must follow the log.

use super::RebuildError;
use crate::generations::{Generation, State};

/// The generation to go back to, and how far it followed the log.
pub(super) fn way_back(generations: &[Generation], number: Option<u32>) -> Result<(u32, u64), RebuildError> {
    let number = chosen(generations, number)?;
    // Of a rebuild of one kind the other kind serves on, in the older generation.
    let all = || generations.iter().filter(|one| one.number == number && !one.live);
    if all().any(|one| !one.privacy_is_current) {
        return no(format!(
            "generation {number} was filled under other rules of privacy and may show what is private now: rebuild instead"
        ));
    }
    match all().map(|one| one.followed_to).min().flatten() {
        Some(followed) => Ok((number, followed)),
        None => no(format!(
            "generation {number} does not say how far it followed the log: rebuild instead"
        )),
    }
}

fn no<T>(why: String) -> Result<T, RebuildError> {
    Err(RebuildError::NoWayBack(why))
}

/// The named one, or the newest that is complete and does not serve.
fn chosen(generations: &[Generation], number: Option<u32>) -> Result<u32, RebuildError> {
    let old = generations
        .iter()
        .filter(|one| !one.live && one.state == State::Complete);
    let mut old = old.filter(|one| number.is_none_or(|number| number == one.number));
    if let Some(number) = number
        && old.clone().any(|one| one.purpose.as_of.is_some())
    {
        return no(format!("generation {number} shows a past time and never serves"));
    }
    let newest = old
        .by_ref()
        .filter(|one| one.purpose.as_of.is_none())
        .map(|one| one.number)
        .max();
    let which = || {
        number.map_or_else(
            || "older generation".to_owned(),
            |number| format!("generation {number}"),
        )
    };
    newest.map_or_else(
        || {
            no(format!(
                "there is no complete {} that does not serve already: see queue-cli generations list",
                which()
            ))
        },
        Ok,
    )
}

#[cfg(test)]
mod tests {
    use bugstream_archive::names::Kind;

    use super::*;
    use crate::generations::Purpose;

    fn generation(number: u32, live: bool, followed_to: Option<u64>) -> Generation {
        Generation {
            kind: Kind::Issues,
            number,
            live,
            state: State::Complete,
            mapping_is_current: true,
            privacy_is_current: true,
            followed_to,
            purpose: Purpose::default(),
            alias: None,
            documents: 0,
            bytes: 0,
        }
    }

    fn found(generations: &[Generation], number: Option<u32>) -> Result<(u32, u64), String> {
        way_back(generations, number).map_err(|error| error.to_string())
    }

    #[test]
    fn the_way_back_leads_to_the_newest_complete_generation_of_the_same_rules() {
        let (old, live) = (generation(2, false, Some(40)), generation(3, true, None));
        let all = [generation(1, false, Some(9)), old.clone(), live.clone()];
        assert_eq!(found(&all, None), Ok((2, 40)));
        assert_eq!(found(&all, Some(1)), Ok((1, 9)));
        let building = Generation {
            state: State::Building,
            ..generation(4, false, None)
        };
        assert_eq!(found(&[old.clone(), live.clone(), building], None), Ok((2, 40)));
        let timelines = Generation {
            kind: Kind::Timelines,
            ..generation(2, true, None)
        };
        assert_eq!(
            found(&[old, timelines, live], None),
            Ok((2, 40)),
            "only issues were rebuilt: the timelines serve on"
        );
    }

    #[test]
    fn where_no_way_leads_back_it_says_why() {
        let (old, live) = (generation(2, false, Some(40)), generation(3, true, None));
        let past = Generation {
            purpose: Purpose {
                only: None,
                as_of: Some(time::macros::datetime!(2026-11-01 12:00 UTC)),
            },
            ..generation(4, false, None)
        };
        let other_rules = Generation {
            privacy_is_current: false,
            ..old.clone()
        };
        let table: [(&[Generation], Option<u32>, &str); 6] = [
            (&[other_rules, live.clone()], None, "rules of privacy"),
            (std::slice::from_ref(&live), None, "no complete older generation"),
            (std::slice::from_ref(&live), Some(3), "no complete generation 3"),
            (&[generation(1, false, None)], None, "how far"),
            (&[past.clone(), live.clone()], None, "no complete older generation"),
            (
                &[past.clone(), old.clone(), live.clone()],
                Some(4),
                "generation 4 shows a past time",
            ),
        ];
        for (generations, number, why) in table {
            let refused = found(generations, number).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        assert_eq!(
            found(&[past, old, live], None),
            Ok((2, 40)),
            "never the one that shows the past"
        );
    }
}
