//! Why a request was not done, said so that it names what to mend. Reads Elasticsearch's message for names of actions and
//! privileges only, and quotes nothing else of it.

use std::error::Error;
use std::io;

use rustls::CertificateError;
use serde::Deserialize;
use url::Url;

use super::Away;
use crate::config;

/// Who we say that we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    Nobody,
    ApiKey,
    User,
}

#[derive(Deserialize)]
struct Body {
    error: Cause,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
}

impl Identity {
    pub(super) fn of(config: &config::Elasticsearch) -> Self {
        match (&config.api_key, &config.username) {
            (Some(_), _) => Self::ApiKey,
            (None, Some(_)) => Self::User,
            (None, None) => Self::Nobody,
        }
    }

    /// See [`super::Transport::refusal`].
    pub(super) fn refusal(self, status: u16, answer: &[u8]) -> Option<String> {
        match status {
            // What is too large for a proxy is too large, whoever says so.
            413 => None,
            401 => Some(self.unknown()),
            403 => match serde_json::from_slice::<Body>(answer) {
                Ok(body) if body.error.kind == "security_exception" => Some(self.lacks(&body.error.reason)),
                Ok(_) => None,
                Err(_) => Some(page(status, answer).unwrap_or_else(|| "Elasticsearch answers 403".to_owned())),
            },
            _ => page(status, answer),
        }
    }

    fn unknown(self) -> String {
        match self {
            Self::Nobody => "Elasticsearch wants credentials (401): set ELASTIC_API_KEY, or ELASTIC_USERNAME and \
                             ELASTIC_PASSWORD ([elasticsearch] api_key, username, password)"
                .to_owned(),
            _ => format!(
                "Elasticsearch does not take our credentials (401): {} is wrong, has expired or was revoked",
                self.key()
            ),
        }
    }

    fn lacks(self, reason: &str) -> String {
        let action = between(reason, "action [", "]").unwrap_or("this");
        let allowed = between(reason, "is granted by the ", "]").and_then(|text| text.split_once(" ["));
        let needed = allowed.map_or_else(String::new, |(kind, names)| {
            format!(", which one of the {kind} {} allows", names.replace(',', ", "))
        });
        format!(
            "Elasticsearch refuses us {action} (403): {} lacks a privilege{needed}; docs/OPERATIONS.md lists what is needed",
            self.key()
        )
    }

    fn key(self) -> &'static str {
        match self {
            Self::Nobody => "an anonymous user",
            Self::ApiKey => "ELASTIC_API_KEY ([elasticsearch] api_key)",
            Self::User => "the user of ELASTIC_USERNAME and ELASTIC_PASSWORD ([elasticsearch] username, password)",
        }
    }
}

/// A short name between two marks; nothing where it holds what no name has.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    let (found, _) = rest.split_once(end)?;
    let is_name =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | ':' | '/' | ',' | ' ' | '[' | '*');
    (found.len() < 200 && found.chars().all(is_name)).then_some(found)
}

/// Whether Elasticsearch itself says so.
pub(super) fn is_elasticsearchs(answer: &[u8]) -> bool {
    serde_json::from_slice::<Body>(answer).is_ok_and(|body| !body.error.kind.is_empty())
}

/// What a page for people (HTML) in place of an answer means; `None` if it is none.
pub(super) fn page(status: u16, answer: &[u8]) -> Option<String> {
    let begin = answer.trim_ascii_start();
    begin.starts_with(b"<").then(|| {
        format!(
            "a page (HTML) with status {status} comes in place of Elasticsearch's answer: look at the proxy between us and \
             it, or where ELASTIC_NODE ([elasticsearch] node) leads"
        )
    })
}

/// Whether nothing of the request can have arrived.
pub(super) fn was_not_sent(error: &elasticsearch::Error) -> bool {
    let refused = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
            )
        });
    refused || tls(error).is_some()
}

/// Why a request got no answer.
pub(super) fn unreachable(error: &elasticsearch::Error) -> Away {
    let what = match tls(error) {
        Some(error) => return Away(untrusted(error)),
        None if error.is_timeout() => "does not answer in time",
        None => "cannot be reached",
    };
    Away(format!("Elasticsearch {what}"))
}

/// The same for the first request: a server that wants TLS hangs up on whoever comes without.
pub(super) fn at_first_contact(error: &elasticsearch::Error, url: &Url) -> Away {
    let Away(why) = unreachable(error);
    if url.scheme() == "http" && !error.is_timeout() && !was_not_sent(error) {
        return Away(format!(
            "{why}; if it wants TLS, write https:// in ELASTIC_NODE ([elasticsearch] node)"
        ));
    }
    Away(why)
}

fn untrusted(error: &rustls::Error) -> String {
    let why = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is signed by nobody that we know: name the CA's certificate in ELASTIC_CA_PATH ([elasticsearch] \
             ca_path)"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is not for the host in ELASTIC_NODE ([elasticsearch] node)",
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        rustls::Error::InvalidCertificate(_) => "its certificate cannot be trusted",
        rustls::Error::InvalidMessage(_) => {
            "it speaks no TLS there: write http:// in ELASTIC_NODE ([elasticsearch] node)"
        }
        _ => "no TLS connection comes about",
    };
    format!("Elasticsearch cannot be trusted: {why}")
}

fn tls(error: &elasticsearch::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The error and what caused it. What an I/O error wraps is not its source, so that is looked for apart.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => (*error).source(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(reason: &str) -> Vec<u8> {
        format!(r#"{{"error":{{"type":"security_exception","reason":"{reason}"}},"status":403}}"#).into_bytes()
    }

    #[test]
    fn refused_credentials_name_the_key_to_mend() {
        let said = |identity: Identity| identity.refusal(401, b"{}").unwrap();
        assert!(said(Identity::Nobody).contains("set ELASTIC_API_KEY, or ELASTIC_USERNAME"));
        assert!(said(Identity::ApiKey).contains("ELASTIC_API_KEY ([elasticsearch] api_key) is wrong"));
        assert!(said(Identity::User).contains("ELASTIC_PASSWORD"));
    }

    #[test]
    fn a_lacking_privilege_is_named_and_nothing_else_is_quoted() {
        let reason = "action [indices:admin/create] is unauthorized for API key id [abc] of user [Ann] on indices [secret-1], \
                      this action is granted by the index privileges [create_index,manage,all]";
        let said = Identity::ApiKey.refusal(403, &denied(reason)).unwrap();
        assert_eq!(
            said,
            "Elasticsearch refuses us indices:admin/create (403): ELASTIC_API_KEY ([elasticsearch] api_key) lacks a \
             privilege, which one of the index privileges create_index, manage, all allows; docs/OPERATIONS.md lists what \
             is needed"
        );
        let said = Identity::User
            .refusal(403, &denied("action [A Planted Title] is …"))
            .unwrap();
        assert!(
            !said.contains("Planted") && said.contains("refuses us this (403)"),
            "{said}"
        );
    }

    #[test]
    fn what_is_not_about_credentials_is_the_callers() {
        let blocked = br#"{"error":{"type":"cluster_block_exception","reason":"x"},"status":403}"#;
        let none: [(u16, &[u8]); 6] = [
            (403, blocked),
            (200, b"{}"),
            (404, b"{}"),
            (503, b""),
            (400, b"{}"),
            (413, b"<html>"),
        ];
        for (status, answer) in none {
            assert_eq!(Identity::ApiKey.refusal(status, answer), None, "{status}");
        }
    }

    #[test]
    fn a_proxys_page_is_called_one() {
        for status in [200, 302, 400, 403, 404, 502] {
            let said = Identity::Nobody
                .refusal(status, b" \n<!DOCTYPE html><title>Welcome</title>")
                .unwrap();
            assert!(
                said.starts_with(&format!("a page (HTML) with status {status}")),
                "{said}"
            );
        }
    }
}
