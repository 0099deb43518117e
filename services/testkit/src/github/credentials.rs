//! Who asks: tokens, and what each of them is good for. All of it can change while the simulator runs.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Simulator;

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
    /// A fine-grained token without the permission: it sees the repository; what is in it is a 403.
    Forbidden,
    /// The organisation wants a single sign-on first: 403 for every repository.
    Sso,
}

/// Every token that is known.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Whether a token that is not known is good.
    open: bool,
    tokens: HashMap<String, Token>,
}

impl Credentials {
    /// Only these are good; if there are none, everybody may do everything.
    pub(super) fn new(tokens: Vec<String>) -> Self {
        Self {
            open: tokens.is_empty(),
            tokens: tokens.into_iter().map(|token| (token, Token::default())).collect(),
        }
    }

    /// What these credentials (empty: none) are good for; nothing for what is no token.
    pub(super) fn of(&self, credential: &str) -> Option<Token> {
        let stranger = || match credential {
            _ if self.open => Some(Token::default()),
            "" => Some(Token {
                sees_private: false,
                admin: false,
                ..Token::default()
            }),
            _ => None,
        };
        let token = self.tokens.get(credential).cloned().or_else(stranger)?;
        (token.standing != Standing::Revoked).then_some(token)
    }
}

impl Simulator {
    /// Says what a token (empty: no token) is good for from now on. What it has used of its quota stays used.
    pub fn set_token(&self, token: &str, good_for: Token) {
        let mut world = self.inner.world();
        if let Some(limit) = good_for.limit {
            world.quotas.limit_one(token, limit);
        }
        world.credentials.tokens.insert(token.to_owned(), good_for);
    }
}
