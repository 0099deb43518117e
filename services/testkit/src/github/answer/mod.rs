//! Answers requests as GitHub's REST API does: one decision under the lock, from what was asked to status, headers, body.
//!
//! Order, as observed: credentials (401), quota (403), the object (200, 301, 404, 410, 422), validators (304). A 304 to an
//! authorised request costs no quota.

mod app;
mod ask;
mod hooks;
mod issue;
mod list;
mod reply;

use std::time::Duration;

use axum::extract::{ConnectInfo, State as Shared};
use axum::response::Response;
use http::{HeaderMap, Method, Uri};
use serde_json::json;

pub(super) use list::Lacking;

use super::connection::Switch;
use super::credentials::{Guest, Kind, Standing};
use super::hooks::Owner;
use super::jwt::UNDECODABLE;
use super::limits::{Fault, Quota};
use super::requests::{Request, Route};
use super::state::Repository;
use super::{Simulator, World, shapes};
use ask::{Ask, Key, Subject};
use reply::Reply;

/// GitHub's words for a repository without issues.
const DISABLED: &str = "Issues are disabled for this repo";

/// Its words for a fine-grained token without the permission.
const NOT_ACCESSIBLE: &str = "Resource not accessible by personal access token";

/// Its words for an installation without it.
const NOT_FOR_APPS: &str = "Resource not accessible by integration";

/// Its words where an organisation wants a single sign-on.
const SSO: &str = "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to this organization.";

/// How long a client has to wait where a secondary limit does not say: "at least one minute", GitHub's documentation says.
const UNSAID_S: u64 = 60;

/// The handler of everything outside `/_simulator`.
pub(super) async fn answer(
    Shared(sim): Shared<Simulator>,
    ConnectInfo(connection): ConnectInfo<Switch>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (ask, reply, late) = {
        let mut world = sim.inner.world();
        let mut ask = Ask::read(&method, &uri, &headers, &world.base_path);
        ask.holder = world.credentials.holder(&ask.credential);
        let (reply, late) = decide(&ask, &mut world);
        let reply = reply.dated(world.now());
        let enterprise = !world.base_path.is_empty();
        (ask, if enterprise { reply.of_enterprise() } else { reply }, late)
    };
    if late > 0 {
        tokio::time::sleep(Duration::from_millis(late)).await;
    }
    note(&ask, &reply, &mut sim.inner.world());
    reply.respond(&connection)
}

/// The answer, and by how many milliseconds it is late.
fn decide(ask: &Ask, world: &mut World) -> (Reply, u64) {
    let (now, route) = (world.now(), ask.subject.route());
    if route != Route::RateLimit && world.waits.bind(&ask.holder, now) {
        world.requests.came_while_told_to_wait();
    }
    let fault = world.fault(route, ask.subject.issue(), ask.page());
    let late = if let Some(Fault::Slow(ms)) = fault { ms } else { 0 };
    let reply = faulty(fault.as_ref(), ask, world);
    if let (Subject::Timeline(Some(issue)), 200 | 304) = (ask.subject, reply.status) {
        world.turn(issue, ask.page());
    }
    (reply, late)
}

fn note(ask: &Ask, reply: &Reply, world: &mut World) {
    let request = Request {
        route: ask.subject.route(),
        issue: ask.subject.issue(),
        target: ask.target.clone(),
        credential: ask.holder.clone(),
        status: reply.status,
        cost: reply.cost,
        at: world.now(),
    };
    world.requests.note(request);
}

fn faulty(fault: Option<&Fault>, ask: &Ask, world: &mut World) -> Reply {
    let Some(fault) = fault else {
        return within_quota(ask, world);
    };
    match *fault {
        Fault::Status(status) => Reply::error(status, "Server Error"),
        Fault::SecondaryLimit { status, retry_after_s } => secondary(ask, world, status, retry_after_s),
        Fault::PrimaryLimit { resets_in_s } => {
            let ends = world.now() + Duration::from_secs(resets_in_s);
            world.quotas.leave(&ask.holder, 0, ends);
            within_quota(ask, world)
        }
        Fault::NotFound => counted(Reply::not_found(), ask, world),
        Fault::IssuesDisabled => counted(Reply::error(410, DISABLED), ask, world),
        Fault::Html => Reply::page("text/html; charset=utf-8"),
        Fault::HtmlAsJson => Reply::page("application/json; charset=utf-8"),
        _ => within_quota(ask, world).spoiled(fault, ask),
    }
}

/// An answer of the API, which costs a request like any other.
fn counted(reply: Reply, ask: &Ask, world: &mut World) -> Reply {
    let now = world.now();
    let cost = u64::from(world.quotas.spend(&ask.holder, now));
    Reply { cost, ..reply }.with_quota(world.quotas.look(&ask.holder, now))
}

fn secondary(ask: &Ask, world: &mut World, status: u16, retry_after_s: Option<u64>) -> Reply {
    let (now, wait) = (world.now(), retry_after_s.unwrap_or(UNSAID_S));
    world.waits.tell(&ask.holder, now, now + Duration::from_secs(wait));
    let reply = Reply::error(
        status,
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
    );
    match retry_after_s {
        Some(seconds) => reply.with("retry-after", seconds.to_string()),
        None => reply,
    }
}

fn within_quota(ask: &Ask, world: &mut World) -> Reply {
    let now = world.now();
    let guest = match world.credentials.guest(&ask.credential, now) {
        Ok(guest) => guest,
        Err((status, message)) => return Reply::error(status, message),
    };
    if ask.subject == Subject::RateLimit {
        let quota = world.quotas.look(&ask.holder, now);
        return rate_limit(quota).with_quota(quota);
    }
    if !world.quotas.spend(&ask.holder, now) {
        return exhausted(ask, world);
    }
    let reply = object(ask, &guest, world).validated(ask, world.links_on_304);
    let free = reply.status == 304 && !ask.credential.is_empty();
    if free {
        world.quotas.give_back(&ask.holder, now);
    }
    let quota = world.quotas.look(&ask.holder, now);
    let cost = u64::from(!free);
    Reply { cost, ..reply }.with_quota(quota)
}

fn exhausted(ask: &Ask, world: &mut World) -> Reply {
    let (now, who) = (world.now(), shapes::id_of(&ask.holder));
    let quota = world.quotas.look(&ask.holder, now);
    world.waits.tell(&ask.holder, now, quota.resets);
    Reply::error(403, &format!("API rate limit exceeded for user ID {who}.")).with_quota(quota)
}

fn rate_limit(quota: Quota) -> Reply {
    let core = json!({
        "limit": quota.limit, "used": quota.used, "remaining": quota.remaining(), "reset": quota.resets.unix_timestamp(),
    });
    Reply::json(json!({"resources": {"core": core, "search": core}, "rate": core}).to_string())
}

fn object(ask: &Ask, guest: &Guest, world: &mut World) -> Reply {
    match ask.subject {
        Subject::App
        | Subject::Installations
        | Subject::Installation(_)
        | Subject::RepositoryInstallation
        | Subject::AccessToken(_)
        | Subject::Deliveries(None)
        | Subject::Delivery(None, _) => app::answer(ask, guest, world, world.now()),
        _ => of_repository(ask, guest, world),
    }
}

fn of_repository(ask: &Ask, guest: &Guest, world: &World) -> Reply {
    let visible = |repository: &Repository| guest.token.sees_private || !repository.about.private;
    let Some((repository, renamed)) = found(ask, world).filter(|(found, _)| visible(found)) else {
        return Reply::not_found();
    };
    if let Some(refusal) = refused(ask, guest, repository, world) {
        return refusal;
    }
    if renamed {
        let rest = ask.path.trim_start_matches('/').split('/').skip(3);
        let rest: String = rest.map(|part| format!("/{part}")).collect();
        return Reply::moved(ask, &format!("/repositories/{}{rest}", repository.about.id));
    }
    let (owner, now) = (Owner::Repository(repository.about.id), world.now());
    let its_own = |hook: Option<u64>| hook == Some(owner.hook_id());
    match ask.subject {
        Subject::Repository => issue::repository(repository),
        Subject::Issue(_) | Subject::Timeline(_) | Subject::List if !repository.about.has_issues => {
            Reply::error(410, DISABLED)
        }
        Subject::List => list::of(ask, repository, world.lacking.as_ref()),
        Subject::Issue(_) | Subject::Timeline(_) => issue::of(ask, repository),
        Subject::Hooks => hooks::list(repository, world, now),
        Subject::Deliveries(hook) if its_own(hook) => hooks::deliveries(ask, owner, world, now),
        Subject::Delivery(hook, Some(id)) if its_own(hook) => hooks::delivery(owner, id, world, now),
        _ => Reply::not_found(),
    }
}

/// What a token hears that may not have what it asks for.
fn refused(ask: &Ask, guest: &Guest, repository: &Repository, world: &World) -> Option<Reply> {
    let suspended = world.credentials.app.as_ref().is_some_and(|app| app.suspended);
    let of_hooks = matches!(
        ask.subject,
        Subject::Hooks | Subject::Deliveries(_) | Subject::Delivery(..)
    );
    match (guest.kind, guest.token.standing) {
        (Kind::App, _) => Some(Reply::error(UNDECODABLE.0, UNDECODABLE.1)),
        (Kind::Installation, _) if suspended => Some(Reply::error(403, app::SUSPENDED)),
        (Kind::Installation, _) if of_hooks => Some(Reply::error(403, NOT_FOR_APPS)),
        (_, Standing::Unseeing) => Some(Reply::not_found()),
        (Kind::Installation, Standing::Forbidden) if ask.subject != Subject::Repository => {
            Some(Reply::error(403, NOT_FOR_APPS))
        }
        (_, Standing::Forbidden) if ask.subject != Subject::Repository => Some(Reply::error(403, NOT_ACCESSIBLE)),
        (_, Standing::Sso) => {
            let owner = repository.about.owner();
            let url = format!("{}/orgs/{owner}/sso?authorization_request=A1B2C3", shapes::WEB);
            Some(Reply::error(403, SSO).with("x-github-sso", format!("required; url={url}")))
        }
        _ if of_hooks && !guest.token.admin => Some(Reply::not_found()),
        _ => None,
    }
}

/// The repository, and whether it has another name by now.
fn found<'a>(ask: &Ask, world: &'a World) -> Option<(&'a Repository, bool)> {
    let (repository, renamed) = match ask.repository.as_ref()? {
        Key::Id(id) => (world.state.repositories.get(id)?, false),
        Key::Name(name) => {
            let repository = world.state.by_name(name)?;
            (repository, !repository.about.full_name.eq_ignore_ascii_case(name))
        }
    };
    (!world.hidden.contains(&repository.about.id)).then_some((repository, renamed))
}
