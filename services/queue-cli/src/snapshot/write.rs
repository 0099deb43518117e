//! Writes a `tar.gz` archive on a thread of its own and hands it on in pieces, no faster than they are taken.
//!
//! The same issues give the same bytes: entries in the order in which they come, nobody's, readable by all, as old as
//! what they hold. To the millisecond, since a restore makes a revision of it; GNU tar and Python know that header.

use std::io::{self, Write};

use bugstream_proto::snapshot::Stamp;
use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::budget::Share;

/// Of what the archive is handed on.
const PIECE: usize = 1 << 20;

/// An issue to be written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// Its time, in milliseconds since 1970.
    pub(super) modified_ms: u64,
    pub(super) issue: Bytes,
    pub(super) timeline: Bytes,
    /// Of the memory.
    pub(super) share: Share,
}

/// Writes all entries that come, and the end if `whole` says so when no more do.
pub(super) fn archive(stamp: Stamp, mut entries: Receiver<Entry>, out: Sender<Bytes>) -> io::Result<()> {
    let folder = stamp.to_string();
    let seconds = stamp.at().unix_timestamp().unsigned_abs();
    let pieces = Pieces {
        out,
        piece: Vec::with_capacity(PIECE),
    };
    let zipped = GzBuilder::new().write(pieces, Compression::default());
    let mut builder = Builder::new(zipped);
    let mut root = header(EntryType::Directory, 0, seconds);
    builder.append_data(&mut root, format!("{folder}/"), io::empty())?;
    while let Some(entry) = entries.blocking_recv() {
        for (name, bytes) in [("issue.json", &entry.issue), ("timeline.json", &entry.timeline)] {
            let time = format!("{}.{:03}", entry.modified_ms / 1_000, entry.modified_ms % 1_000);
            builder.append_pax_extensions([("mtime", time.as_bytes())])?;
            let mut header = header(EntryType::Regular, bytes.len() as u64, entry.modified_ms / 1_000);
            let path = format!("{folder}/{}/{name}", entry.number);
            builder.append_data(&mut header, path, &**bytes)?;
        }
        drop(entry.share);
    }
    builder.into_inner()?.finish()?.end()
}

fn header(kind: EntryType, size: u64, seconds: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_size(size);
    header.set_mtime(seconds);
    header
}

/// Whoever takes the pieces may have gone away: that is an error like a full disk.
struct Pieces {
    out: Sender<Bytes>,
    piece: Vec<u8>,
}

impl Pieces {
    fn end(mut self) -> io::Result<()> {
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.out.blocking_send(piece.into());
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A channel for pieces.
pub(super) fn pieces() -> (Sender<Bytes>, Receiver<Bytes>) {
    mpsc::channel(4)
}
