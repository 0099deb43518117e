//! A GitHub App: signs for itself, and holds an installation's token, which lives an hour and is renewed before it ends.
//!
//! Times are GitHub's: the clock here may be wrong. What an answer's `Date` says is remembered, and a JWT is dated by it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bugstream_kit::config;
use bugstream_proto::RepoName;
use reqwest::header::HeaderValue;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::config::ConfigError;
use crate::credentials::{Credential, KeyError, bearer};
use crate::error::Error;

/// GitHub asks for a minute, since clocks drift.
const BACKDATED: Duration = Duration::seconds(60);

/// GitHub takes at most ten minutes.
const JWT_LIVES: Duration = Duration::minutes(9);

/// Before an installation's token ends.
const RENEWED: Duration = Duration::minutes(5);

/// Between attempts to renew a token that still works.
const RETRY: Duration = Duration::seconds(30);

/// Clocks that differ by less make the same JWT good.
const TOLERATED: Duration = Duration::seconds(30);

/// The App itself.
pub(crate) struct App {
    id: u64,
    key: KeyPair,
    /// What GitHub's clock is ahead of ours.
    ahead: Mutex<Duration>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

impl App {
    /// Reads the private key.
    pub(crate) fn read(config: &config::App) -> Result<Self, ConfigError> {
        let path = || config.private_key_path.clone();
        let pem =
            std::fs::read(path()).map_err(|source| ConfigError::Key(KeyError::Unreadable { path: path(), source }))?;
        let key =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|_| ConfigError::Key(KeyError::NoKey { path: path() }))?;
        let key = match &key {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()).ok(),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
            _ => None,
        };
        Ok(Self {
            id: config.id,
            key: key.ok_or_else(|| ConfigError::Key(KeyError::NotRsa { path: path() }))?,
            ahead: Mutex::default(),
        })
    }

    /// A JWT that is good now, as GitHub has it.
    pub(crate) fn bearer(&self, now: OffsetDateTime) -> HeaderValue {
        let now = now + *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        bearer(&self.jwt(now)).expect("a JWT is letters, digits, dots and dashes")
    }

    fn jwt(&self, now: OffsetDateTime) -> String {
        let issued = (now - BACKDATED).unix_timestamp();
        let expires = (now + JWT_LIVES).unix_timestamp();
        let claims = format!(r#"{{"iat":{issued},"exp":{expires},"iss":"{}"}}"#, self.id);
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!(
            "{}.{}",
            encode(br#"{"alg":"RS256","typ":"JWT"}"#),
            encode(claims.as_bytes())
        );
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .expect("a checked key signs into a buffer of its own length");
        format!("{signed}.{}", encode(&signature))
    }

    /// Remembers GitHub's time. True if it is so different that a refused JWT may have been dated wrongly.
    pub(crate) fn learn(&self, theirs: OffsetDateTime, ours: OffsetDateTime) -> bool {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *ahead, theirs - ours);
        (*ahead - before).abs() > TOLERATED
    }
}

/// Which installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Id(u64),
    /// The one on this repository's owner.
    Of(RepoName),
}

/// As in a credential's id: an App has one installation on an owner.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Of(repository) => f.write_str(repository.owner()),
        }
    }
}

/// An App on a repository's owner.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) app: Arc<Credential>,
    pub(crate) place: Place,
    /// Held while it is renewed: who needs one meanwhile waits for the same.
    token: tokio::sync::Mutex<Option<Token>>,
}

/// An installation's token, by our clock.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    bearer: HeaderValue,
    renewed: OffsetDateTime,
    ends: OffsetDateTime,
}

#[derive(Deserialize)]
struct Received<'a> {
    token: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

impl Token {
    /// From GitHub's answer, sent at `date` by its own clock.
    pub(crate) fn of(body: &[u8], date: Option<OffsetDateTime>, now: OffsetDateTime) -> Result<Self, Error> {
        let received: Received<'_> = crate::body::object(body)?;
        let ends = now + (received.expires_at - date.unwrap_or(now));
        let bearer = bearer(received.token).ok_or_else(|| Error::malformed("a token that no header can carry"))?;
        Ok(Self {
            bearer,
            renewed: ends - RENEWED,
            ends,
        })
    }
}

impl Installation {
    pub(crate) fn new(app: Arc<Credential>, place: Place) -> Self {
        let token = tokio::sync::Mutex::default();
        Self { app, place, token }
    }

    /// The token, renewed by `renew` where it is about to end. What still works is used while it cannot be renewed.
    pub(crate) async fn bearer(
        &self,
        now: OffsetDateTime,
        renew: impl AsyncFnOnce() -> Result<Token, Error>,
    ) -> Result<HeaderValue, Error> {
        let mut held = self.token.lock().await;
        match held.as_mut() {
            Some(token) if now < token.renewed => return Ok(token.bearer.clone()),
            _ => {}
        }
        match (renew().await, held.as_mut()) {
            (Ok(token), _) => Ok(held.insert(token).bearer.clone()),
            (Err(Error::Unauthorized { why }), _) => {
                *held = None;
                Err(Error::Unauthorized { why })
            }
            (Err(_), Some(token)) if now < token.ends => {
                token.renewed = now + RETRY;
                Ok(token.bearer.clone())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Forgets a token that was refused: it may have been revoked before its end.
    pub(crate) async fn forget(&self, refused: &HeaderValue) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|token| token.bearer == *refused) {
            *held = None;
        }
    }
}
