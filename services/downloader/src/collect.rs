//! Removes what is old, once a day: events that were superseded long ago, their objects, and objects that no event names.
//! What may go, and why that is safe, is told in [`bugstream_kit::retention`].

use bugstream_kit::config::Repository;
use bugstream_kit::retention::{CollectError, Collected, Collector, Manner};
use bugstream_kit::watermarks::{Collect, Marked, State};
use bugstream_telemetry::{metrics, names};

use crate::tasks::{Layers, Next, Stopped};

/// Looks at the next issues, from where the last step ended.
pub(crate) async fn step(repository: &Repository, layers: &Layers) -> Result<Next, Stopped> {
    let (repo, deps) = (&repository.name, &layers.deps);
    let Marked { mut record, revision } = deps.watermarks.read::<Collect>(repo).await?;
    if record.position.is_none() {
        record.collected = Collected::default();
    }
    let collector = Collector {
        log: deps.log.clone(),
        objects: deps.objects.clone(),
        rules: layers.retention.rules,
        clock: deps.clock.clone(),
    };
    let done = collector
        .step(repo, record.position.as_deref(), Manner::default())
        .await;
    record.last_run = Some(deps.clock.now());
    record.state = State::On;
    record.position = match done {
        Ok(done) => {
            count(done.collected);
            record.collected.add(done.collected);
            done.next
        }
        Err(CollectError::Log(error)) => return Err(error.into()),
        Err(CollectError::Objects(error)) => return Err(error.into()),
        // A person has to decide. Until then the rest waits too, for it may be as wrong.
        Err(error @ CollectError::TooMany { .. }) => {
            tracing::error!(repository = %repo, %error, "nothing is collected");
            record.state = State::Failing(error.to_string());
            None
        }
    };
    let next = if record.position.is_some() {
        Next::Now
    } else {
        end(&mut record, repository, layers)
    };
    deps.watermarks.swap(repo, record, revision).await?;
    Ok(next)
}

fn end(record: &mut Collect, repository: &Repository, layers: &Layers) -> Next {
    if record.state == State::On {
        record.finished = record.last_run;
        let Collected {
            events,
            objects,
            bytes,
            orphans,
            orphan_bytes,
            ..
        } = record.collected;
        tracing::info!(
            repository = %repository.name,
            events, objects, bytes, orphans, orphan_bytes,
            "collected what is old"
        );
    }
    layers.retention.interval.map_or(Next::Asked, Next::In)
}

fn count(collected: Collected) {
    metrics::count(names::COLLECTED_EVENTS, collected.events, &[]);
    for (kind, objects, bytes) in [
        (names::Garbage::Revision, collected.objects, collected.bytes),
        (names::Garbage::Orphan, collected.orphans, collected.orphan_bytes),
    ] {
        metrics::count(names::COLLECTED_OBJECTS, objects, &[kind.into()]);
        metrics::count(names::COLLECTED_BYTES, bytes, &[kind.into()]);
    }
}
