//! Who asks: tokens, the GitHub App, the tokens of its installation, and what each is good for. All of it can change while
//! the simulator runs.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::app::App;
use super::{Simulator, jwt};

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// Whether it is let in, and how it is sent away.
    pub standing: Standing,
    /// Whether it sees private repositories.
    pub sees_private: bool,
    /// Whether it sees a repository's hooks; for others they are a 404.
    pub admin: bool,
    /// Requests an hour, if not as many as every other.
    pub limit: Option<u64>,
}

impl Default for Token {
    /// Good for everything.
    fn default() -> Self {
        Self {
            standing: Standing::Good,
            sees_private: true,
            admin: true,
            limit: None,
        }
    }
}

/// How a token is received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is let in.
    #[default]
    Good,
    /// Revoked or expired: 401 for everything.
    Revoked,
    /// No repository is there for it: 404.
    Unseeing,
    /// Without the permission, as a fine-grained token may be: it sees the repository; what is in it is a 403.
    Forbidden,
    /// The organisation wants a single sign-on first: 403 for every repository.
    Sso,
}

/// Who is let in.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) kind: Kind,
    pub(super) token: Token,
}

/// What somebody comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A personal access token, or nothing.
    Person,
    /// A token of the App's installation.
    Installation,
    /// The App's own JSON web token.
    App,
}

/// Status and words of an answer to who is not let in.
pub(super) type Refusal = (u16, &'static str);

/// Everybody who is known.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Whether a token that is not known is good.
    open: bool,
    tokens: HashMap<String, Token>,
    pub(super) app: Option<App>,
    /// Tokens of the installation and when they end.
    issued: HashMap<String, OffsetDateTime>,
    /// How long they live.
    life: Duration,
}

impl Credentials {
    /// Only these are good; if there are none, everybody may do everything.
    pub(super) fn new(tokens: Vec<String>, app: Option<App>) -> Self {
        Self {
            open: tokens.is_empty(),
            tokens: tokens.into_iter().map(|token| (token, Token::default())).collect(),
            app,
            issued: HashMap::new(),
            life: Duration::HOUR,
        }
    }

    /// Who comes with these credentials (empty: none).
    pub(super) fn guest(&self, credential: &str, now: OffsetDateTime) -> Result<Guest, Refusal> {
        let kind = kind(credential);
        match kind {
            Kind::App => jwt::check(credential, self.app.as_ref(), now)?,
            Kind::Installation if self.issued.get(credential).is_none_or(|end| *end <= now) => return Err(BAD),
            Kind::Installation | Kind::Person => {}
        }
        let token = self.of(credential, kind).ok_or(BAD)?;
        match token.standing {
            Standing::Revoked => Err(BAD),
            _ => Ok(Guest { kind, token }),
        }
    }

    /// What they are good for; nothing for what is no token.
    fn of(&self, credential: &str, kind: Kind) -> Option<Token> {
        let stranger = || match credential {
            _ if kind != Kind::Person || self.open => Some(Token::default()),
            "" => Some(Token {
                sees_private: false,
                admin: false,
                ..Token::default()
            }),
            _ => None,
        };
        self.tokens.get(&self.holder(credential)).cloned().or_else(stranger)
    }

    /// Whose quota it is: all tokens of an installation share one.
    pub(super) fn holder(&self, credential: &str) -> String {
        match (kind(credential), &self.app) {
            (Kind::Installation, Some(app)) => format!("installation-{}", app.installation),
            (Kind::App, Some(app)) => format!("app-{}", app.id),
            _ => credential.to_owned(),
        }
    }

    /// A new token of the installation, and when it ends.
    pub(super) fn issue(&mut self, now: OffsetDateTime) -> (String, OffsetDateTime) {
        let token = format!("{ISSUED}{}", &crate::nonce()[..32]);
        let end = now + self.life;
        self.issued.insert(token.clone(), end);
        (token, end)
    }
}

const BAD: Refusal = (401, "Bad credentials");

/// How tokens of installations begin.
const ISSUED: &str = "ghs_";

fn kind(credential: &str) -> Kind {
    if credential.starts_with(ISSUED) {
        Kind::Installation
    } else if credential.contains('.') {
        Kind::App
    } else {
        Kind::Person
    }
}

impl Simulator {
    /// Says what a token (empty: no token; `installation-<id>`: every token of the App's installation) is good for from now
    /// on. What it has used of its quota stays used.
    pub fn set_token(&self, token: &str, good_for: Token) {
        let mut world = self.inner.world();
        if let Some(limit) = good_for.limit {
            world.quotas.limit_one(token, limit);
        }
        world.credentials.tokens.insert(token.to_owned(), good_for);
    }

    /// Lets the installation's tokens that are issued from now on live so long: an hour at first, as GitHub's do.
    pub fn set_installation_token_life(&self, life: std::time::Duration) {
        let life = Duration::try_from(life).unwrap_or(Duration::HOUR);
        self.inner.world().credentials.life = life;
    }

    /// Ends every token of the installation now: 401 for whoever comes with one.
    pub fn revoke_installation_tokens(&self) {
        self.inner.world().credentials.issued.clear();
    }
}
