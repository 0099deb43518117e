//! What all servers have in common: a process, and options that start it again on the same port and data.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::STOP;
use crate::ports;
use crate::process::{Identity, Process};

/// What a server needs to start, and how it is done.
pub trait Options: Clone {
    /// The port that its users connect to, 0 for a free one.
    fn port(&self) -> u16;

    /// The same options with this port, and with free ones for whatever else it listens on.
    ///
    /// # Errors
    /// There is no free port.
    fn on(&self, port: u16) -> Result<Self>;

    /// Starts the server on the port that its options name and waits until it is ready.
    ///
    /// # Errors
    /// Its folder cannot be written; it ends or does not get ready (with the end of its log).
    fn launch(&self) -> Result<Process>;

    /// Where its output goes.
    fn log(&self) -> PathBuf;
}

/// A running server. Dropping it kills it; its folder stays.
#[derive(Debug)]
pub struct Running<O: Options> {
    pub(super) options: O,
    pub(super) process: Process,
}

impl<O: Options> Running<O> {
    /// Starts the server and waits until it is ready for its users.
    ///
    /// # Errors
    /// As [`Options::launch`].
    pub fn start(options: O) -> Result<Self> {
        if options.port() != 0 {
            return Self::on(&options, options.port());
        }
        // Between looking for a free port and listening on it, another process may have taken it.
        for _ in 0..4 {
            match Self::on(&options, ports::free()?) {
                Err(error) if error.to_string().to_lowercase().contains("already in use") => {}
                done => return done,
            }
        }
        Self::on(&options, ports::free()?)
    }

    fn on(options: &O, port: u16) -> Result<Self> {
        // The server that has the port would answer in this one's place.
        if !ports::is_free(port) {
            bail!("port {port} on 127.0.0.1: address already in use");
        }
        let options = options.on(port)?;
        let process = options.launch()?;
        Ok(Self { options, process })
    }

    /// The port that its users connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.options.port()
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.options.log()
    }

    /// Stops the server politely and waits for its end.
    pub fn stop(&mut self) {
        self.process.stop(STOP);
    }

    /// Starts it again on the same ports and data, killing it first if it still runs, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Options::launch`].
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.options.launch()?;
        Ok(())
    }

    /// Lets the server outlive this process. The identity is that of the process that was started.
    ///
    /// # Errors
    /// It has already ended.
    pub fn detach(self) -> Result<Identity> {
        self.process.detach()
    }
}
