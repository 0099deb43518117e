//! What tests of the layers of freshness share: one layer at work, its record, its tasks.

use std::time::Duration;

use bugstream_downloader::{Config, Freshness};
use bugstream_kit::secret::Secret;
use bugstream_kit::tasks::Tasks;
use bugstream_kit::watermarks::{Record, Watermarks};
use bugstream_proto::{RepoName, topology};
use bugstream_testkit::github::{Options, Webhook};
use bugstream_testkit::wait;

use crate::stage::{PATIENCE, Running, Stage, issue};

pub(crate) const TOKEN: &str = "good";
/// Between two steps of a layer under test.
pub(crate) const OFTEN: Duration = Duration::from_millis(400);

pub(crate) fn repo() -> RepoName {
    issue(1).repo().clone()
}

/// A GitHub with one token, so that an ETag belongs to somebody, and a configuration with every layer off.
pub(crate) async fn set(options: Options) -> (Stage, Config) {
    let stage = Stage::set_with(Options {
        tokens: vec![TOKEN.to_owned()],
        ..options
    })
    .await;
    let mut config = stage.config();
    config.github.token = Some(Secret::new(TOKEN));
    config.backfill_slots = 16;
    (stage, config)
}

pub(crate) fn with(config: &Config, change: impl FnOnce(&mut Freshness)) -> Config {
    let mut config = config.clone();
    change(&mut config.freshness);
    config
}

/// A receiver of webhooks that is not there.
pub(crate) fn nowhere() -> Webhook {
    Webhook {
        url: "http://127.0.0.1:1/".to_owned(),
        secret: "a secret".to_owned(),
    }
}

impl Stage {
    /// Ends a downloader in the middle of whatever it does, and its lease, as if its ten seconds were over.
    pub(crate) async fn kill(&self, downloader: Running) {
        downloader.crash().await;
        let leases = self.broker.jetstream.get_key_value(topology::LEASES).await;
        let freed = leases.expect("the bucket is there").delete("downloader").await;
        freed.expect("the bucket answers");
    }

    pub(crate) async fn watermarks(&self) -> Watermarks {
        Watermarks::open(&self.broker).await.expect("the bucket is there")
    }

    pub(crate) fn tasks(&self) -> Tasks {
        Tasks::new(self.broker.jetstream.clone())
    }

    /// A record as it is now.
    pub(crate) async fn mark<R: Record>(&self) -> R {
        let read = self.watermarks().await.read::<R>(&repo()).await;
        read.expect("the record can be read").record
    }

    /// Waits until a record fits.
    pub(crate) async fn mark_when<R: Record>(&self, what: &str, fits: impl Fn(&R) -> bool) -> R {
        wait::until(what, PATIENCE, async || {
            Some(self.mark::<R>().await).filter(|record| fits(record))
        })
        .await
    }
}
