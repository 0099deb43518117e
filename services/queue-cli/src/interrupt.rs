//! Ctrl-C, for commands that go on until someone goes away. What others do then is the shell's business: they just end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Listens from the moment it is made, so that none is missed.
pub(crate) struct Interrupt(Signal);

impl Interrupt {
    /// # Errors
    /// [`Failure`] where the system lets no process listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listening = signal(SignalKind::interrupt());
        listening
            .map(Self)
            .map_err(|error| Failure::failed(format!("cannot listen for Ctrl-C: {error}")))
    }

    pub(crate) async fn comes(&mut self) {
        self.0.recv().await;
    }
}
