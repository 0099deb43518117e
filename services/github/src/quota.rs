//! What is known of a credential, as it is shown, stored, and taken over by the next process.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::credentials::Credential;
use crate::ledger::Kept;
use crate::limit::Quota;

/// One credential's state. Times are by the clock of the process that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaState {
    /// The credential's id: `token-<8 hex of its hash>`, `app-<id>-<installation or owner>`, `anonymous`.
    pub label: String,
    /// Requests an hour, as GitHub said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What is left of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// When they are all there again.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub reset: Option<OffsetDateTime>,
    /// Until when nothing is sent, since GitHub asked to wait.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub closed_until: Option<OffsetDateTime>,
    /// Why it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

impl QuotaState {
    pub(crate) fn of(credential: &Credential, now: OffsetDateTime) -> Self {
        let ledger = credential.ledger();
        let quota = ledger.quota().filter(|quota| now < quota.reset);
        Self {
            label: credential.label.clone(),
            limit: ledger.quota().map(|quota| quota.limit),
            remaining: quota
                .map(|quota| quota.remaining)
                .or(ledger.quota().map(|quota| quota.limit)),
            reset: quota.map(|quota| quota.reset),
            closed_until: ledger.closed_until(now),
            set_aside: ledger.aside().map(|aside| aside.why.clone()),
        }
    }

    /// Lets the credential of this id know.
    pub(crate) fn restore(&self, credentials: &[Arc<Credential>], now: OffsetDateTime) {
        let Some(credential) = credentials.iter().find(|one| one.label == self.label) else {
            return;
        };
        let quota = |reset| {
            Some(Quota {
                limit: self.limit?,
                remaining: self.remaining?,
                reset,
            })
        };
        credential.ledger().restore(
            Kept {
                quota: self.reset.and_then(quota),
                closed_until: self.closed_until,
            },
            now,
        );
    }
}
