//! The layers that keep a repository fresh where webhooks fail: the sweep, the audit, the repair of deliveries; and the
//! backfill, while there is one.

use std::time::Duration;

use bugstream_kit::broker::Broker;
use bugstream_kit::watermarks::{Audit, Backfill, Deliveries, Phase, State, Sweep, WatermarkError, Watermarks};
use bugstream_proto::RepoName;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::LATE;
use super::screen::Part;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{since, span, thousands, time_of};

/// How far every layer is.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers {
    pub(super) sweep: Sweep,
    audit: Audit,
    deliveries: Deliveries,
    backfill: Backfill,
}

impl Layers {
    pub(super) async fn read(repository: &RepoName, broker: &Broker) -> Result<Self, Failure> {
        let read = async {
            let marks = Watermarks::open(broker).await?;
            Ok(Self {
                sweep: marks.read(repository).await?.record,
                audit: marks.read(repository).await?.record,
                deliveries: marks.read(repository).await?.record,
                backfill: marks.read(repository).await?.record,
            })
        };
        read.await
            .map_err(|error: WatermarkError| Failure::failed(error.to_string()))
    }
}

/// How often the layers run that have a time, where the configuration says so.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Intervals {
    sweep_interval_s: u64,
    deliveries_interval_s: u64,
}

pub(super) async fn part(repository: &RepoName, broker: &Broker, deps: &Deps) -> Result<Part, Failure> {
    let layers = Layers::read(repository, broker).await?;
    let (intervals, now) = (deps.settings().section("downloader")?, deps.context().clock.now());
    Ok(late(&layers, &intervals, now).fold(shown(&layers, now), Part::wrong))
}

/// The layers that should have run again. A used up quota may hold up each by an hour, and by no more.
fn late(layers: &Layers, intervals: &Intervals, now: OffsetDateTime) -> impl Iterator<Item = String> {
    let (sweep, deliveries) = (&layers.sweep, &layers.deliveries);
    let timed = [
        ("sweep", &sweep.state, sweep.last_run, intervals.sweep_interval_s),
        (
            "deliveries",
            &deliveries.state,
            deliveries.last_run,
            intervals.deliveries_interval_s,
        ),
    ];
    timed.into_iter().filter_map(move |(name, state, last_run, interval)| {
        let age = since(last_run?, now);
        let late = *state == State::On && age > LATE + Duration::from_secs(interval) * 2;
        let why = || format!("the {name} has not run for {}: look at the downloader's log", span(age));
        late.then(why)
    })
}

fn shown(layers: &Layers, now: OffsetDateTime) -> Part {
    let Layers {
        sweep,
        audit,
        deliveries,
        backfill,
    } = layers;
    let states = [
        ("sweep", &sweep.state),
        ("audit", &audit.state),
        ("deliveries", &deliveries.state),
    ];
    let failing = states.into_iter().filter_map(|(name, state)| match state {
        State::Failing(why) => Some(format!("the {name} fails: {why}")),
        _ => None,
    });
    let round = format!("{:.0} % of round {}", audit.share() * 100.0, audit.round);
    let part = Part::new("fresh")
        .say(format!("sweep {}", said(&sweep.state, ago(sweep.last_run, now))))
        .say(format!("audit {}", said(&audit.state, round)))
        .say(format!(
            "deliveries {}",
            said(&deliveries.state, ago(deliveries.last_run, now))
        ));
    let part = failing.fold(part, Part::wrong);
    with_backfill(part.json(json(layers)), backfill)
}

/// One that is under way, or broke off; one that is done is history.
fn with_backfill(part: Part, backfill: &Backfill) -> Part {
    let why = backfill.why.as_deref().unwrap_or("for no known reason");
    match backfill.phase {
        Phase::Running => part.say(format!("backfill at {}", thousands(backfill.rows))),
        Phase::Failed => part.say("backfill failed").wrong(format!("the backfill failed: {why}")),
        _ => part,
    }
}

fn said(state: &State, on: String) -> String {
    match state {
        State::On => on,
        State::Failing(_) => format!("failing, {on}"),
        other => other.to_string(),
    }
}

fn ago(at: Option<OffsetDateTime>, now: OffsetDateTime) -> String {
    at.map_or_else(|| "under way".to_owned(), |at| format!("{} ago", span(since(at, now))))
}

fn json(layers: &Layers) -> Value {
    let Layers {
        sweep,
        audit,
        deliveries,
        backfill,
    } = layers;
    let time = |at: Option<OffsetDateTime>| at.map(time_of);
    json!({
        "sweep": { "state": sweep.state, "last_run": time(sweep.last_run), "newest": time(sweep.newest) },
        "audit": {
            "state": audit.state,
            "round": audit.round,
            "share": audit.share(),
            "began": time(audit.began),
            "finished": time(audit.finished),
            "requests_an_issue": audit.cost,
        },
        "deliveries": {
            "state": deliveries.state,
            "last_run": time(deliveries.last_run),
            "repaired": deliveries.repaired,
        },
        "backfill": { "phase": backfill.phase, "rows": backfill.rows, "why": backfill.why },
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::cli::Output;
    use crate::status::screen::{Block, Screen};

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn text(layers: &Layers, output: Output) -> String {
        let block = Block::new("a/b".to_owned(), vec![shown(layers, NOW)]);
        Screen::new(vec![block], Vec::new()).report().render(output)
    }

    fn fresh() -> Layers {
        Layers {
            sweep: Sweep {
                state: State::On,
                last_run: Some(datetime!(2026-11-21 11:56 UTC)),
                ..Sweep::default()
            },
            audit: Audit {
                state: State::On,
                round: 3,
                known: 1_000,
                passed: 612,
                ..Audit::default()
            },
            deliveries: Deliveries {
                state: State::Off("the token may not see the hook".to_owned()),
                ..Deliveries::default()
            },
            backfill: Backfill::default(),
        }
    }

    #[test]
    fn each_layer_says_how_far_it_is() {
        insta::assert_snapshot!(text(&Layers::default(), Output::Human), @r#"
        a/b                                                       healthy
          fresh       sweep not run yet · audit not run yet · deliveries not run yet
        "#);
        insta::assert_snapshot!(text(&fresh(), Output::Human), @r#"
        a/b                                                       healthy
          fresh       sweep 4 min ago · audit 61 % of round 3 · deliveries off: the token may not see the hook
        "#);
        insta::assert_snapshot!(text(&fresh(), Output::Json), @r#"{"healthy":true,"repositories":{"a/b":{"fresh":{"audit":{"began":null,"finished":null,"requests_an_issue":0.0,"round":3,"share":0.612,"state":{"is":"on"}},"backfill":{"phase":"none","rows":0,"why":null},"deliveries":{"last_run":null,"repaired":0,"state":{"is":"off","why":"the token may not see the hook"}},"sweep":{"last_run":"2026-11-21T11:56:00Z","newest":null,"state":{"is":"on"}}}}},"wrong":[]}"#);
    }

    #[test]
    fn a_layer_that_does_not_run_any_more_is_late() {
        let late = |minutes, interval| {
            let intervals = Intervals {
                sweep_interval_s: interval,
                ..Intervals::default()
            };
            let now = datetime!(2026-11-21 11:56 UTC) + time::Duration::minutes(minutes);
            late(&fresh(), &intervals, now).collect::<Vec<_>>()
        };
        assert_eq!((late(60, 0).len(), late(180, 7_200).len()), (0, 0));
        assert_eq!(
            late(120, 0),
            ["the sweep has not run for 2 h: look at the downloader's log"]
        );
    }

    #[test]
    fn what_fails_is_wrong() {
        let sweep = Sweep {
            state: State::Failing("github is in trouble (503)".to_owned()),
            ..fresh().sweep
        };
        let backfill = Backfill {
            phase: Phase::Failed,
            why: Some("GitHub shows no issues (404)".to_owned()),
            rows: 1_200,
            ..Backfill::default()
        };
        let layers = Layers {
            sweep,
            backfill,
            ..fresh()
        };
        insta::assert_snapshot!(text(&layers, Output::Human), @r#"
        a/b                                                       not healthy
          fresh       sweep failing, 4 min ago · audit 61 % of round 3 · deliveries off: the token may not see the hook · backfill failed
          !           fresh: the sweep fails: github is in trouble (503)
          !           fresh: the backfill failed: GitHub shows no issues (404)
        "#);
    }
}
