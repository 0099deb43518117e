//! Sends webhooks: which hooks hear of a delivery when, what a storm does to it, and what goes on record.

use super::hooks::Target;
use super::storm::{Fate, Raging};
use super::webhook::{self, Delivery, Webhook};
use super::{Simulator, World};

impl Simulator {
    /// Sends webhooks there from now on, or nowhere.
    pub fn set_webhook(&self, webhook: Option<Webhook>) {
        self.inner.world().webhook = webhook;
    }

    /// While muted, changes send no webhooks, and no record of deliveries knows of them: what happened must be found in
    /// another way. (A delivery that a storm loses is on record, as one that failed.)
    pub fn mute_webhooks(&self, muted: bool) {
        self.inner.world().muted = muted;
    }

    /// Signs and sends these bytes as a delivery of their own; none without a receiver.
    pub async fn send(&self, event: &str, body: Vec<u8>) -> Option<Delivery> {
        self.redeliver(&Delivery::new(delivery_id(), event, body)).await
    }

    /// Sends a delivery once more, under the same id, as the button on GitHub's page does, and returns it as the repository's
    /// hook made it (the App's, where that is the only one).
    pub async fn redeliver(&self, delivery: &Delivery) -> Option<Delivery> {
        let targets = self.inner.world().targets(delivery);
        let mut made = Vec::new();
        for target in targets {
            made.push(self.deliver(delivery.to(&target), &target).await);
        }
        made.into_iter().next()
    }

    async fn deliver(&self, mut delivery: Delivery, target: &Target) -> Delivery {
        let headers = delivery.headers(target);
        let answer = webhook::deliver(&self.inner.client, &target.hook.url, &headers, delivery.body.clone()).await;
        delivery.status = answer.came.then_some(answer.code);
        let mut world = self.inner.world();
        let now = world.now();
        world.ledger.note(target, delivery.clone(), headers, answer, now);
        delivery
    }

    /// What no receiver has taken of all that was sent or lost, each once. A storm sends what it kept with whatever
    /// comes later, and whoever made the change that is told of never sees the answer.
    #[must_use]
    pub fn untaken(&self) -> Vec<Delivery> {
        self.inner.world().ledger.untaken()
    }

    /// Sends the webhooks that a storm kept back, the latest first, and returns them.
    pub async fn release_webhooks(&self) -> Vec<Delivery> {
        let due = self.inner.world().kept.release();
        self.send_all(due).await
    }

    pub(super) async fn announce(&self, event: &str, body: Vec<u8>) -> Vec<Delivery> {
        let due = self.inner.world().due_with(Delivery::new(delivery_id(), event, body));
        self.send_all(due).await
    }

    async fn send_all(&self, due: Vec<Delivery>) -> Vec<Delivery> {
        let mut made = Vec::new();
        for delivery in due {
            made.extend(self.redeliver(&delivery).await);
        }
        made
    }
}

impl World {
    /// What is to be sent now that this delivery came up: nothing, itself, itself twice, others that it overtook.
    fn due_with(&mut self, delivery: Delivery) -> Vec<Delivery> {
        if self.muted {
            return vec![];
        }
        let fate = self.storm.as_mut().map_or(Fate::Sent, Raging::fate);
        if let Some(name) = fate.name() {
            *self.met.entry(name).or_default() += 1;
        }
        if fate == Fate::Lost {
            self.lose(&delivery);
        }
        self.kept.due(delivery, fate)
    }
}

/// A UUID that no other delivery has, of this process or another.
fn delivery_id() -> String {
    let hex = crate::nonce();
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..15],
        &hex[15..18],
        &hex[18..30]
    )
}
