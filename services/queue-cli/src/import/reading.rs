//! Reads a source on a thread of its own, no further ahead than what is taken from it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bugstream_kit::objects::ObjectError;
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinSet;

use super::archive::{self, Damaged, Seen};
use super::directory::{self, Folders};
use super::pairs::{Broken, Found, Pairs};
use crate::snapshot::budget::{Budget, Share};

/// Where issues come from.
pub(crate) enum Source {
    /// A directory, as it was listed.
    Directory(Folders),
    /// An archive on this machine.
    File(PathBuf),
    /// An archive that is read from the object store meanwhile.
    Stored(BoxStream<'static, Result<Bytes, ObjectError>>),
}

/// What comes of it.
#[derive(Debug)]
pub(crate) enum Piece {
    /// An issue, and its share of the memory.
    Whole(Found, Share),
    /// One that is known already.
    Known(u64),
    /// What cannot be taken.
    Broken(Broken),
}

/// A source that is being read.
#[derive(Debug)]
pub(crate) struct Reading {
    pieces: Receiver<Piece>,
    threads: JoinSet<Result<(), Damaged>>,
}

impl Reading {
    /// Begins. Files of `known` issues are passed over.
    pub(crate) fn begin(source: Source, largest: u64, known: Arc<HashSet<u64>>) -> Self {
        let (out, pieces) = mpsc::channel(4);
        let mut threads = JoinSet::new();
        let runtime = Handle::current();
        let mut sink = Sink {
            pairs: Pairs::default(),
            budget: Budget::default(),
            runtime,
            out,
        };
        let wanted = move |number| !known.contains(&number);
        match source {
            Source::Directory(folders) => threads.spawn_blocking(move || {
                directory::read(folders, largest, wanted, |seen| sink.tell(seen));
                sink.end();
                Ok(())
            }),
            Source::File(path) => threads.spawn_blocking(move || {
                let file = fs::File::open(&path).map_err(|error| Damaged(format!("cannot be read: {error}")))?;
                let read = archive::read(file, largest, wanted, |seen| sink.tell(seen));
                sink.end();
                read
            }),
            Source::Stored(bytes) => {
                let (pump, chunks) = mpsc::channel(4);
                threads.spawn(pumped(bytes, pump));
                threads.spawn_blocking(move || {
                    let chunks = Chunks {
                        chunks,
                        current: Bytes::new(),
                    };
                    let read = archive::read(chunks, largest, wanted, |seen| sink.tell(seen));
                    sink.end();
                    read
                })
            }
        };
        Self { pieces, threads }
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Piece> {
        self.pieces.recv().await
    }

    /// How the reading ended.
    ///
    /// # Errors
    /// [`Damaged`]: there may be more than came.
    pub(crate) async fn end(mut self) -> Result<(), Damaged> {
        drop(self.pieces);
        while let Some(ended) = self.threads.join_next().await {
            ended.unwrap_or_else(|error| Err(Damaged(format!("cannot be read: {error}"))))?;
        }
        Ok(())
    }
}

/// Where what is read goes to.
struct Sink {
    pairs: Pairs,
    budget: Budget,
    runtime: Handle,
    out: mpsc::Sender<Piece>,
}

impl Sink {
    /// Whether anybody wants more.
    fn tell(&mut self, seen: Seen) -> bool {
        let piece = match seen {
            Seen::Unwanted(number) => Piece::Known(number),
            Seen::Broken(broken) => Piece::Broken(broken),
            Seen::File(file) => match self.pairs.take(file) {
                Ok(None) => return true,
                Ok(Some(found)) => {
                    let bytes = found.issue.len() + found.timeline.len();
                    let share = self.runtime.block_on(self.budget.share(bytes as u64));
                    Piece::Whole(found, share)
                }
                Err(broken) => Piece::Broken(broken),
            },
        };
        self.out.blocking_send(piece).is_ok()
    }

    fn end(self) {
        for broken in self.pairs.halves() {
            if self.out.blocking_send(Piece::Broken(broken)).is_err() {
                return;
            }
        }
    }
}

async fn pumped(
    mut bytes: BoxStream<'static, Result<Bytes, ObjectError>>,
    to: mpsc::Sender<Result<Bytes, ObjectError>>,
) -> Result<(), Damaged> {
    while let Some(chunk) = bytes.next().await {
        if to.send(chunk).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Bytes that come from elsewhere, for who can only wait for them.
struct Chunks {
    chunks: Receiver<Result<Bytes, ObjectError>>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.current = chunk.map_err(io::Error::other)?,
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
