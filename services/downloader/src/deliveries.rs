//! Webhooks that failed to arrive: GitHub lists every attempt and never repeats one by itself.
//!
//! The list is read from the newest attempt back to the watermark and grouped by event (GUID). An event none of whose
//! attempts succeeded is fetched with its payload, routed as the receiver would have done, and requested with the
//! delivery in the cause: so it also counts as the witness of a deletion. The watermark moves when all of that is
//! stored.
//!
//! Not every credential may look. Then the layer is off, says why, and tries again every hour.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bugstream_github::webhook::{Decision, Head, Policy, route};
use bugstream_github::{Allowed, Client, Delivery, Hook, Priority};
use bugstream_kit::config::{Repositories, Repository};
use bugstream_kit::watermarks::{Deliveries, HookMark, Marked, State};
use bugstream_proto::{RepoName, v1};
use time::OffsetDateTime;

use crate::tasks::{Layers, Next, Stopped};

/// How far back the first look goes. GitHub keeps three days.
const FIRST: Duration = Duration::from_secs(24 * 60 * 60);
/// How far before the watermark a look goes: an attempt may be listed late.
const OVERLAP: Duration = Duration::from_secs(120);
/// Between two looks that are not allowed.
const NOT_ALLOWED: Duration = Duration::from_secs(60 * 60);
/// Events that one look repairs at most, a request each. What is beyond them a sweep lists a hundred a request.
const MOST: usize = 1_000;

/// Repairs what failed since the last look.
pub(crate) async fn step(repository: &Repository, layers: &Layers) -> Result<Next, Stopped> {
    let Some(interval) = layers.freshness.deliveries else {
        return Ok(Next::Asked);
    };
    let deps = &layers.deps;
    let now = deps.clock.now();
    let Marked { mut record, revision } = deps.watermarks.read::<Deliveries>(&repository.name).await?;
    let client = deps.client(&repository.name, Priority::Background);
    record.state = match look(&mut record, repository, &client, now, layers).await? {
        Looked::All => {
            record.last_run = Some(now);
            State::On
        }
        Looked::Not(why) => State::Off(why),
    };
    let next = pause(&record, interval);
    deps.watermarks.swap(&repository.name, record, revision).await?;
    Ok(Next::In(next))
}

/// Until the next look.
fn pause(record: &Deliveries, interval: Duration) -> Duration {
    match record.state {
        State::Off(_) => interval.max(NOT_ALLOWED),
        _ => interval,
    }
}

/// How long the next look may be away.
pub(crate) async fn longest_wait(repo: &RepoName, interval: Duration, layers: &Layers) -> Result<Duration, Stopped> {
    let known = layers.deps.watermarks.read::<Deliveries>(repo).await?;
    Ok(pause(&known.record, interval))
}

/// What came of a look.
enum Looked {
    All,
    /// It may not look, or there is nothing to look at.
    Not(String),
}

async fn look(
    record: &mut Deliveries,
    repository: &Repository,
    client: &Client,
    now: OffsetDateTime,
    layers: &Layers,
) -> Result<Looked, Stopped> {
    let hooks = match hooks(repository, client).await? {
        Ok(hooks) => hooks,
        Err(why) => return Ok(Looked::Not(why)),
    };
    for hook in &hooks {
        let mark = record.hooks.entry(name_of(hook)).or_default();
        let Some(listed) = list(hook, begin(mark, now), client).await? else {
            return Ok(Looked::Not(format!(
                "github does not show the deliveries of {}",
                name_of(hook)
            )));
        };
        let mut repaired = BTreeMap::new();
        for lost in lost(&listed, &mark.repaired) {
            record.repaired += u64::from(repair(hook, &lost, repository, client, layers).await?);
            repaired.insert(lost.guid.clone(), lost.delivered_at.unix_timestamp());
        }
        moved(mark, &listed, repaired);
    }
    record
        .hooks
        .retain(|name, _| hooks.iter().any(|hook| name_of(hook) == *name));
    Ok(Looked::All)
}

/// The webhooks whose deliveries can be seen, or why there are none.
async fn hooks(repository: &Repository, client: &Client) -> Result<Result<Vec<Hook>, String>, Stopped> {
    let repo = &repository.name;
    let (mut hooks, why) = match client.hooks(repo).await? {
        Allowed::Yes(infos) => {
            let own = infos.iter().filter(|info| info.active).map(|info| Hook::Repository {
                repo: repo.clone(),
                id: info.id,
            });
            (own.collect(), format!("{repo} has no active webhook"))
        }
        Allowed::No { status } => {
            let why = format!("the credentials may not see the webhooks of {repo} (github answers {status})");
            (Vec::new(), why)
        }
    };
    if client.has_app() {
        hooks.push(Hook::App);
    }
    Ok(if hooks.is_empty() { Err(why) } else { Ok(hooks) })
}

fn name_of(hook: &Hook) -> String {
    match hook {
        Hook::Repository { id, .. } => format!("hook {id}"),
        Hook::App => "the App's webhook".to_owned(),
    }
}

/// From when on attempts are looked at.
fn begin(mark: &HookMark, now: OffsetDateTime) -> OffsetDateTime {
    mark.newest.map_or(now - FIRST, |newest| newest - OVERLAP)
}

/// Every attempt since `begin`, the newest first; `None` if that is not allowed.
async fn list(hook: &Hook, begin: OffsetDateTime, client: &Client) -> Result<Option<Vec<Delivery>>, Stopped> {
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let Allowed::Yes(page) = client.deliveries(hook, cursor.as_ref()).await? else {
            return Ok(None);
        };
        let done = page.deliveries.last().is_none_or(|oldest| oldest.delivered_at < begin);
        listed.extend(
            page.deliveries
                .into_iter()
                .filter(|delivery| delivery.delivered_at >= begin),
        );
        cursor = page.next;
        if done || cursor.is_none() {
            return Ok(Some(listed));
        }
    }
}

/// One attempt of every event that never arrived and was not repaired yet: what was taken down first, then the oldest.
fn lost(listed: &[Delivery], repaired: &BTreeMap<String, i64>) -> Vec<Delivery> {
    let arrived: HashSet<&str> = listed
        .iter()
        .filter(|d| d.succeeded())
        .map(|d| d.guid.as_str())
        .collect();
    let mut seen = HashSet::new();
    let mut lost = listed.to_vec();
    lost.retain(|delivery| {
        let guid = delivery.guid.as_str();
        let failed = !arrived.contains(guid) && !repaired.contains_key(guid);
        failed && concerns_us(delivery) && seen.insert(guid.to_owned())
    });
    lost.sort_by_key(|delivery| (!is_takedown(delivery), delivery.delivered_at));
    if lost.len() > MOST {
        tracing::warn!(
            lost = lost.len(),
            repaired = MOST,
            "very many webhooks failed; the sweep finds the rest"
        );
        lost.truncate(MOST);
    }
    lost
}

/// No list tells of these, so they must not be left to the sweep.
fn is_takedown(delivery: &Delivery) -> bool {
    matches!(delivery.action.as_deref(), Some("deleted" | "transferred"))
}

/// Whether an event of its kind may concern an issue, so that its payload is worth a request.
fn concerns_us(delivery: &Delivery) -> bool {
    let policy = Policy {
        repositories: Repositories(Vec::new()),
        pull_requests: true,
    };
    let head = Head::new(&delivery.event, &delivery.guid, 0);
    head.is_ok_and(|head| !matches!(route(head, b"{}", &policy), Ok(Decision::Ignore(_))))
}

/// Requests what an event concerns; answers whether it concerned anything.
async fn repair(
    hook: &Hook,
    lost: &Delivery,
    repository: &Repository,
    client: &Client,
    layers: &Layers,
) -> Result<bool, Stopped> {
    let Allowed::Yes(delivered) = client.delivery(hook, lost.id).await? else {
        tracing::warn!(
            hook = name_of(hook),
            guid = lost.guid,
            "github no longer has a failed delivery"
        );
        return Ok(false);
    };
    let Some(payload) = delivered.payload else {
        return Ok(false);
    };
    let hook_id = match hook {
        Hook::Repository { id, .. } => *id,
        Hook::App => 0,
    };
    let policy = Policy {
        repositories: Repositories(vec![repository.clone()]),
        pull_requests: true,
    };
    let routed = Head::new(&delivered.event, &delivered.guid, hook_id).and_then(|head| route(head, &payload, &policy));
    let queue = match routed {
        Ok(Decision::Queue(queue)) => queue,
        Ok(Decision::Ignore(_)) => return Ok(false),
        Err(malformed) => {
            tracing::warn!(guid = lost.guid, %malformed, "a failed delivery cannot be read");
            return Ok(false);
        }
    };
    for issue in &queue.issues {
        let cause = v1::Cause::of_delivery(queue.delivery.clone(), layers.deps.clock.now());
        layers.deps.requests.download(issue, cause).await?;
        tracing::info!(%issue, guid = lost.guid, event = lost.event, "a webhook that failed is repaired");
    }
    Ok(true)
}

/// Moves the watermark to the newest attempt that was listed, and remembers what was repaired within the overlap.
fn moved(mark: &mut HookMark, listed: &[Delivery], repaired: BTreeMap<String, i64>) {
    mark.newest = listed
        .iter()
        .map(|delivery| delivery.delivered_at)
        .chain(mark.newest)
        .max();
    mark.repaired.extend(repaired);
    let oldest = mark.newest.map_or(0, |newest| (newest - OVERLAP).unix_timestamp());
    mark.repaired.retain(|_, at| *at >= oldest);
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn attempt(guid: &str, seconds: i64, status_code: u16, event: &str, action: &str) -> Delivery {
        Delivery {
            id: u64::try_from(seconds).unwrap(),
            guid: guid.to_owned(),
            delivered_at: NOON + time::Duration::seconds(seconds),
            redelivery: false,
            status_code,
            event: event.to_owned(),
            action: Some(action.to_owned()),
            repository_id: None,
        }
    }

    fn guids(lost: &[Delivery]) -> Vec<&str> {
        lost.iter().map(|delivery| delivery.guid.as_str()).collect()
    }

    #[test]
    fn an_event_is_lost_if_no_attempt_arrived() {
        let listed = [
            attempt("redelivered", 50, 202, "issues", "edited"),
            attempt("twice", 40, 503, "issues", "edited"),
            attempt("elsewhere", 35, 500, "check_run", "completed"),
            attempt("gone", 30, 0, "issues", "deleted"),
            attempt("redelivered", 20, 502, "issues", "edited"),
            attempt("twice", 10, 502, "issues", "edited"),
            attempt("known", 5, 502, "issue_comment", "created"),
            attempt("arrived", 1, 204, "issues", "opened"),
        ];
        let known = BTreeMap::from([("known".to_owned(), 5)]);
        assert_eq!(guids(&lost(&listed, &known)), ["gone", "twice"]);
    }

    #[test]
    fn the_watermark_moves_forward_only() {
        let mut mark = HookMark::default();
        assert_eq!(begin(&mark, NOON), NOON - FIRST);
        let repaired = BTreeMap::from([
            ("old".to_owned(), NOON.unix_timestamp()),
            ("new".to_owned(), NOON.unix_timestamp() + 500),
        ]);
        moved(&mut mark, &[attempt("new", 500, 502, "issues", "edited")], repaired);
        let newest = NOON + time::Duration::seconds(500);
        assert_eq!((mark.newest, begin(&mark, NOON)), (Some(newest), newest - OVERLAP));
        assert_eq!(
            mark.repaired.keys().collect::<Vec<_>>(),
            ["new"],
            "the old one will not be listed again"
        );
        moved(&mut mark, &[], BTreeMap::new());
        assert_eq!(mark.newest, Some(newest));
    }
}
