//! Brings a NATS server in line with [`crate::topology`]: creates what is missing, changes what can be changed in
//! place, refuses with a clear message what cannot. Never deletes, never recreates.
//!
//! What an operator may choose (replicas, placement, compression) is left as found. Safe to run from several services
//! at once: a lost race to create ends as "already there".

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{self, ErrorCode, consumer, kv, stream};

use crate::topology::{self, ConsumerSpec, NATS_AT_LEAST};

/// Why the server cannot be used as it is. Each text names what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Too old a server.
    #[error("nats-server {found} is too old: message schedules need 2.14 or newer; update the server")]
    ServerTooOld {
        /// The version it says.
        found: String,
    },
    /// Something exists that cannot become what we need.
    #[error(
        "{what} exists with {property} {found}, and Bugstream needs {wanted}, which cannot be changed in place; move \
         its messages away, delete it by hand (nats stream rm / nats consumer rm) and start again"
    )]
    Incompatible {
        /// For example `stream DOWNLOADS`.
        what: String,
        /// Which property differs.
        property: &'static str,
        /// What the server has.
        found: String,
        /// What is needed.
        wanted: String,
    },
    /// The server refused a change.
    #[error("the NATS server refused {what}: {why}")]
    Refused {
        /// What was asked of it.
        what: String,
        /// Its words.
        why: String,
    },
    /// No answer.
    #[error("JetStream does not answer ({what}): {why}")]
    Unavailable {
        /// What was asked of it.
        what: String,
        /// The client's words.
        why: String,
    },
}

/// Creates or updates every stream, bucket and consumer. `replicas` applies to what is created.
///
/// # Errors
/// [`ReconcileError`]; nothing was deleted, and what was done before the error stays.
pub async fn reconcile(
    client: &async_nats::Client,
    jetstream: &jetstream::Context,
    replicas: usize,
) -> Result<(), ReconcileError> {
    check_version(&client.server_info().version)?;
    for wanted in topology::streams() {
        reconcile_stream(
            jetstream,
            stream::Config {
                num_replicas: replicas,
                ..wanted
            },
        )
        .await?;
    }
    for wanted in topology::buckets() {
        reconcile_bucket(
            jetstream,
            kv::Config {
                num_replicas: replicas,
                ..wanted
            },
        )
        .await?;
    }
    for wanted in topology::CONSUMERS {
        reconcile_consumer(jetstream, &wanted).await?;
    }
    Ok(())
}

fn check_version(found: &str) -> Result<(), ReconcileError> {
    let mut parts = found.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= NATS_AT_LEAST {
        Ok(())
    } else {
        Err(ReconcileError::ServerTooOld {
            found: found.to_owned(),
        })
    }
}

async fn reconcile_stream(jetstream: &jetstream::Context, wanted: stream::Config) -> Result<(), ReconcileError> {
    let what = format!("stream {}", wanted.name);
    let found = match jetstream.get_stream(&wanted.name).await {
        Ok(stream) => stream.cached_info().config.clone(),
        Err(error) if is(&error, ErrorCode::STREAM_NOT_FOUND) => return create_stream(jetstream, wanted, what).await,
        Err(error) => return Err(unavailable(what, &error)),
    };
    let merged = merge_stream(&what, &found, wanted)?;
    if merged == found {
        return Ok(());
    }
    tracing::info!(%what, "changing in place");
    jetstream
        .update_stream(merged)
        .await
        .map(drop)
        .map_err(|error| refused(what, &error))
}

async fn create_stream(
    jetstream: &jetstream::Context,
    wanted: stream::Config,
    what: String,
) -> Result<(), ReconcileError> {
    tracing::info!(%what, "creating");
    match jetstream.create_stream(&wanted).await {
        Ok(_) => Ok(()),
        Err(error) => match jetstream.get_stream(&wanted.name).await {
            Ok(stream) => merge_stream(&what, &stream.cached_info().config, wanted).map(drop),
            Err(_) => Err(refused(what, &error)),
        },
    }
}

/// The found configuration with our fields over it, so that what the operator chose besides stays.
fn merge_stream(what: &str, found: &stream::Config, wanted: stream::Config) -> Result<stream::Config, ReconcileError> {
    same(what, "retention", &found.retention, &wanted.retention)?;
    same(what, "storage", &found.storage, &wanted.storage)?;
    Ok(stream::Config {
        description: wanted.description,
        subjects: wanted.subjects,
        max_messages_per_subject: if wanted.max_messages_per_subject == 0 {
            found.max_messages_per_subject
        } else {
            wanted.max_messages_per_subject
        },
        max_message_size: if wanted.max_message_size == 0 {
            found.max_message_size
        } else {
            wanted.max_message_size
        },
        max_bytes: if wanted.max_bytes == 0 {
            found.max_bytes
        } else {
            wanted.max_bytes
        },
        max_age: wanted.max_age,
        discard: wanted.discard,
        allow_direct: wanted.allow_direct,
        allow_message_schedules: wanted.allow_message_schedules || found.allow_message_schedules,
        duplicate_window: wanted.duplicate_window,
        ..found.clone()
    })
}

async fn reconcile_bucket(jetstream: &jetstream::Context, wanted: kv::Config) -> Result<(), ReconcileError> {
    let what = format!("key-value bucket {}", wanted.bucket);
    let stream = match jetstream.get_stream(format!("KV_{}", wanted.bucket)).await {
        Ok(stream) => stream.cached_info().config.clone(),
        Err(error) if is(&error, ErrorCode::STREAM_NOT_FOUND) => {
            tracing::info!(%what, "creating");
            let name = wanted.bucket.clone();
            return match jetstream.create_key_value(wanted).await {
                Ok(_) => Ok(()),
                Err(error) => jetstream
                    .get_key_value(name)
                    .await
                    .map(drop)
                    .map_err(|_| refused(what, &error)),
            };
        }
        Err(error) => return Err(unavailable(what, &error)),
    };
    if stream.max_age == wanted.max_age && stream.max_messages_per_subject == wanted.history {
        return Ok(());
    }
    tracing::info!(%what, "changing in place");
    let merged = stream::Config {
        max_age: wanted.max_age,
        max_messages_per_subject: wanted.history,
        duplicate_window: if wanted.max_age.is_zero() {
            stream.duplicate_window
        } else {
            wanted.max_age.min(stream.duplicate_window)
        },
        ..stream
    };
    jetstream
        .update_stream(merged)
        .await
        .map(drop)
        .map_err(|error| refused(what, &error))
}

/// Creates or updates one durable consumer. Also how the consumer loop brings back one that was deleted.
///
/// # Errors
/// [`ReconcileError`].
pub async fn reconcile_consumer(
    jetstream: &jetstream::Context,
    spec: &ConsumerSpec,
) -> Result<consumer::Consumer<pull::Config>, ReconcileError> {
    let what = format!("consumer {} of {}", spec.name, spec.stream);
    let stream = jetstream
        .get_stream_no_info(spec.stream)
        .await
        .map_err(|error| unavailable(what.clone(), &error))?;
    let wanted = spec.config();
    if let Ok(info) = stream.consumer_info(spec.name).await {
        let found = &info.config;
        same(&what, "ack policy", &found.ack_policy, &wanted.ack_policy)?;
        same(&what, "deliver policy", &found.deliver_policy, &wanted.deliver_policy)?;
    }
    // Creating one that is there with the same configuration answers the one that is there; with another, updates it.
    stream
        .create_consumer(wanted)
        .await
        .map_err(|error| refused(what, &error))
}

fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    property: &'static str,
    found: &T,
    wanted: &T,
) -> Result<(), ReconcileError> {
    if found == wanted {
        return Ok(());
    }
    let (found, wanted) = (format!("{found:?}"), format!("{wanted:?}"));
    Err(ReconcileError::Incompatible {
        what: what.to_owned(),
        property,
        found,
        wanted,
    })
}

fn is(error: &jetstream::context::GetStreamError, code: ErrorCode) -> bool {
    matches!(error.kind(), jetstream::context::GetStreamErrorKind::JetStream(e) if e.error_code() == code)
}

fn unavailable(what: String, error: &impl std::fmt::Display) -> ReconcileError {
    ReconcileError::Unavailable {
        what,
        why: error.to_string(),
    }
}

fn refused(what: String, error: &impl std::fmt::Display) -> ReconcileError {
    ReconcileError::Refused {
        what,
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_must_know_message_schedules() {
        for (version, good) in [
            ("2.15.1", true),
            ("2.14.0", true),
            ("3.0.0-beta.1", true),
            ("2.12.9", false),
            ("", false),
        ] {
            assert_eq!(check_version(version).is_ok(), good, "{version}");
        }
    }

    #[test]
    fn what_the_operator_chose_stays() {
        let wanted = topology::streams().remove(0);
        let found = stream::Config {
            num_replicas: 3,
            max_messages: 7,
            max_age: std::time::Duration::from_secs(5),
            ..wanted.clone()
        };
        let merged = merge_stream("stream X", &found, wanted).unwrap();
        assert_eq!(
            (merged.num_replicas, merged.max_messages, merged.max_age.as_secs()),
            (3, 7, 0)
        );
    }

    #[test]
    fn retention_cannot_be_changed_and_says_so() {
        let wanted = topology::streams().remove(0);
        let found = stream::Config {
            retention: stream::RetentionPolicy::Limits,
            ..wanted.clone()
        };
        let error = merge_stream("stream DOWNLOADS", &found, wanted)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("stream DOWNLOADS exists with retention Limits"),
            "{error}"
        );
    }
}
