//! Why there is no answer, by what a caller can do about it.

use std::time::Duration;

use bugstream_telemetry::names::Limit;
use reqwest::header::HeaderMap;

/// Why a request has no usable answer. Safe to log: neither token nor content is in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A limit asks to wait; not an error, and no attempt. Nothing is sent before that, whoever asks.
    #[error("{}", wait(*kind, *after))]
    Limited {
        /// Which limit.
        kind: Limit,
        /// For how long from now.
        after: Duration,
    },
    /// No credential is accepted: wrong, expired, revoked; an App that is suspended or not installed. Nothing is sent with
    /// those that were refused for some minutes.
    #[error("github does not accept the credentials: {why}")]
    Unauthorized {
        /// Each credential by its id, never the credential, with the reason.
        why: String,
    },
    /// 403 or 451 that is no limit: the credentials may not read this, or nobody may.
    #[error("github forbids it ({status}): {why}")]
    Forbidden {
        /// 403 or 451.
        status: u16,
        /// What of GitHub's reasons it is.
        why: &'static str,
    },
    /// The issue answered and its timeline does not: it went away meanwhile. Ask for the issue again.
    #[error("the timeline is not there ({status})")]
    Vanished {
        /// 301, 308, 404 or 410.
        status: u16,
    },
    /// The timeline changed under every walk over its pages. Ask again later.
    #[error("the timeline changes while it is read")]
    Unstable,
    /// 5xx: GitHub's own trouble.
    #[error("github is in trouble ({status})")]
    Server {
        /// 500 to 599.
        status: u16,
    },
    /// A status that no request of this client should get.
    #[error("github answered with an unexpected status ({status})")]
    Unexpected {
        /// For example 422.
        status: u16,
    },
    /// No answer, or not all of it: unreachable, timed out, cut.
    #[error("the connection to github failed")]
    Transport(#[source] reqwest::Error),
    /// An answer that is not what GitHub sends: something in between, or a cut that no length gave away.
    #[error("the answer is malformed: {why}")]
    Malformed {
        /// What is wrong with it.
        why: &'static str,
    },
    /// More bytes than the configuration allows; the same would come again.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The configured limit in bytes.
        limit: usize,
    },
}

impl Error {
    /// A 403 that is no limit, by the words that GitHub has for it. They are not quoted: they may name things.
    pub(crate) fn forbidden(headers: &HeaderMap, message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let reasons = [
            ("suspended", "the account or the App's installation is suspended"),
            (
                "ip allow list",
                "the organization's IP allow list keeps this address out",
            ),
            ("not accessible by", "the credential lacks a permission"),
            ("must have admin", "the credential has no admin rights"),
        ];
        let found = reasons.iter().find(|(words, _)| message.contains(words));
        let why = match found {
            _ if headers.contains_key("x-github-sso") => {
                "the token must be authorised for the organization's SAML single sign-on"
            }
            Some((_, why)) => why,
            None => "no reason that is known here",
        };
        Self::Forbidden { status: 403, why }
    }

    pub(crate) fn malformed(why: &'static str) -> Self {
        Self::Malformed { why }
    }
}

fn wait(kind: Limit, after: Duration) -> String {
    let seconds = after.as_secs();
    match kind {
        Limit::Reserve => {
            format!("what is left of the hour's quota is kept for live work; {seconds} s until it is full")
        }
        Limit::Primary | Limit::Secondary => format!("github asks to wait {seconds} s ({} limit)", kind.as_str()),
    }
}

/// Addresses name issues, not secrets, but belong to the span, once.
impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(error.without_url())
    }
}
