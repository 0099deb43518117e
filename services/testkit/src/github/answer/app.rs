//! What a GitHub App asks with its own JSON web token.

use time::OffsetDateTime;

use super::ask::{Ask, Subject};
use super::reply::Reply;
use super::{found, hooks};
use crate::github::World;
use crate::github::app::App;
use crate::github::credentials::{Guest, Kind};
use crate::github::hooks::Owner;
use crate::github::jwt::UNDECODABLE;

/// GitHub's words for an installation that its owner has suspended.
pub(super) const SUSPENDED: &str = "This installation has been suspended";

pub(super) fn answer(ask: &Ask, guest: &Guest, world: &mut World, now: OffsetDateTime) -> Reply {
    let app = world.credentials.app.clone().filter(|_| guest.kind == Kind::App);
    let Some(app) = app else {
        return Reply::error(UNDECODABLE.0, UNDECODABLE.1);
    };
    let owner = world.main.owner().to_owned();
    match ask.subject {
        Subject::App => Reply::json(app.to_json(&owner).to_string()),
        Subject::Installations => Reply::json(format!("[{}]", app.installation_json(&owner))),
        Subject::Installation(Some(id)) if id == app.installation => installation(&app, &owner),
        Subject::RepositoryInstallation if found(ask, world).is_some() => installation(&app, &owner),
        Subject::AccessToken(Some(id)) if id == app.installation => token(&app, world, now),
        Subject::Deliveries(None) => hooks::deliveries(ask, Owner::App(app.id), world, now),
        Subject::Delivery(None, Some(id)) => hooks::delivery(Owner::App(app.id), id, world, now),
        _ => Reply::not_found(),
    }
}

fn installation(app: &App, owner: &str) -> Reply {
    Reply::json(app.installation_json(owner).to_string())
}

fn token(app: &App, world: &mut World, now: OffsetDateTime) -> Reply {
    if app.suspended {
        return Reply::error(403, SUSPENDED);
    }
    let (token, expires) = world.credentials.issue(now);
    Reply {
        status: 201,
        ..Reply::json(App::token_json(&token, expires).to_string())
    }
}
