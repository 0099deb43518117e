//! A repository's hooks, and the deliveries of a hook.

use serde_json::Value;
use time::OffsetDateTime;

use super::ask::Ask;
use super::reply::Reply;
use crate::github::World;
use crate::github::hooks::{self, Made, Owner};
use crate::github::page;
use crate::github::state::Repository;

/// The hooks of a repository: one, if webhooks are sent at all.
pub(super) fn list(repository: &Repository, world: &World, now: OffsetDateTime) -> Reply {
    let last = world.ledger.of(Owner::Repository(repository.about.id), now).next();
    let hooks = world
        .webhook
        .iter()
        .map(|hook| hooks::to_json(&repository.about, hook, last));
    Reply::json(hooks.collect::<Value>().to_string())
}

/// A page of the deliveries of a hook, newest first; its cursor is the first delivery of the next page.
pub(super) fn deliveries(ask: &Ask, owner: Owner, world: &World, now: OffsetDateTime) -> Reply {
    let (Some(from), Some(wanted)) = (cursor(ask), outcome(ask)) else {
        return Reply::error(422, "Validation Failed");
    };
    let (size, _) = page::asked(&ask.query);
    let made = world.ledger.of(owner, now);
    let mut made = made.filter(|made| made.id <= from && wanted(made));
    let rows: Value = made.by_ref().take(size).map(Made::to_row).collect();
    let links = made.next().map(|next| {
        let query = ask.query.with("cursor", &format!("{CURSOR}{}", next.id));
        page::next_link(&query.at(&format!("{}{}", ask.origin, ask.path)))
    });
    Reply::json(rows.to_string()).with_links(links)
}

pub(super) fn delivery(owner: Owner, id: u64, world: &World, now: OffsetDateTime) -> Reply {
    match world.ledger.of(owner, now).find(|made| made.id == id) {
        Some(made) => Reply::json(made.to_json().to_string()),
        None => Reply::not_found(),
    }
}

/// How cursors begin.
const CURSOR: &str = "v1_";

/// The delivery that the page begins with.
fn cursor(ask: &Ask) -> Option<u64> {
    match ask.query.get("cursor") {
        Some(text) => text.strip_prefix(CURSOR)?.parse().ok(),
        None => Some(u64::MAX),
    }
}

fn outcome(ask: &Ask) -> Option<fn(&Made) -> bool> {
    match ask.query.get("status").map(String::as_str) {
        None => Some(|_| true),
        Some("success") => Some(|made| !made.has_failed()),
        Some("failure") => Some(Made::has_failed),
        Some(_) => None,
    }
}
