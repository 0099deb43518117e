//! Reads a `tar.gz` archive that somebody else may have made. Nothing is unpacked: entries are looked at one by one, and
//! what they are called decides nothing but which issue they are of.
//!
//! Bounded whatever it says of itself: an entry is read up to a size, headers of headers up to another, and the rest
//! streams by. An archive that ends before its end is damaged, however whole the entries were.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use tar::{Entry, EntryType, PaxExtensions};

use super::layout::{Place, place};
use super::pairs::{Broken, File};

/// Of a header about a header: a long name, times.
const LARGEST_HEADER: u64 = 64 << 10;

/// Of all entries together: GitHub has no repository with a tenth of that.
const ENTRIES: usize = 20_000_000;

/// What may follow the end: `tar` fills up its last block.
const PADDING: u64 = 64 << 20;

/// Why an archive cannot be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the archive {0}")]
pub(crate) struct Damaged(pub(crate) String);

/// What an archive or a directory has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A file of an issue.
    File(File),
    /// One of an issue that is not wanted.
    Unwanted(u64),
    /// What cannot be taken.
    Broken(Broken),
}

/// Reads an archive to its end and tells what it has. `wanted` are the numbers whose files are read at all; `tell`
/// answers whether to go on.
///
/// # Errors
/// [`Damaged`]; what was told before may be used.
pub(crate) fn read(
    from: impl Read,
    largest: u64,
    wanted: impl Fn(u64) -> bool,
    tell: impl FnMut(Seen) -> bool,
) -> Result<(), Damaged> {
    let ended = Rc::new(Cell::new(false));
    let unzipped = Watched {
        inner: MultiGzDecoder::new(BufReader::with_capacity(1 << 16, from)),
        ended: Rc::clone(&ended),
    };
    let mut archive = tar::Archive::new(unzipped);
    let told = entries(&mut archive, largest, wanted, tell);
    // The last thing of a whole archive is an empty block, not its end.
    if ended.get() {
        return Err(Damaged("is cut short".to_owned()));
    }
    if !told? {
        return Ok(());
    }
    // To the end, where the checksum is.
    let mut rest = archive.into_inner().take(PADDING);
    let after = io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    if after == PADDING {
        return Err(Damaged("goes on after its end".to_owned()));
    }
    Ok(())
}

/// Whether there are no more.
fn entries(
    archive: &mut tar::Archive<impl Read>,
    largest: u64,
    wanted: impl Fn(u64) -> bool,
    mut tell: impl FnMut(Seen) -> bool,
) -> Result<bool, Damaged> {
    let mut about = About::default();
    for (count, entry) in archive.entries().map_err(damaged)?.raw(true).enumerate() {
        if count == ENTRIES {
            return Err(Damaged("has an absurd number of files".to_owned()));
        }
        let mut entry = entry.map_err(damaged)?;
        if about.takes(&mut entry)? {
            continue;
        }
        let about = std::mem::take(&mut about);
        if let Some(found) = one(&mut entry, &about, largest, &wanted)?
            && !tell(found)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn one(
    entry: &mut Entry<'_, impl Read>,
    about: &About,
    largest: u64,
    wanted: &impl Fn(u64) -> bool,
) -> Result<Option<Seen>, Damaged> {
    let path = about.path.clone().unwrap_or_else(|| entry.path_bytes().into_owned());
    let broken = |number, why: String| {
        let path = shown(&path);
        Ok(Some(Seen::Broken(Broken { number, path, why })))
    };
    let kind = entry.header().entry_type();
    let (number, part) = match place(&path) {
        Place::Wrong(why) => return broken(None, why.to_owned()),
        _ if kind == EntryType::Directory => return Ok(None),
        Place::Of(number, _) if !is_file(kind) => return broken(Some(number), "it is a link or no file".to_owned()),
        Place::Other if !is_file(kind) => return broken(None, "it is a link or no file".to_owned()),
        Place::Other => return Ok(None),
        Place::Of(number, part) => (number, part),
    };
    if !wanted(number) {
        return Ok(Some(Seen::Unwanted(number)));
    }
    let size = entry.size();
    if size > largest {
        return broken(Some(number), too_large(size, largest));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(1 << 20)).unwrap_or_default());
    entry.take(size).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 != size {
        return Err(Damaged("is cut short".to_owned()));
    }
    let modified_ms = about.modified_ms.map_or_else(|| seconds(entry), Ok)?;
    Ok(Some(Seen::File(File {
        number,
        part,
        modified_ms,
        bytes: bytes.into(),
    })))
}

pub(crate) fn too_large(size: u64, largest: u64) -> String {
    let megabytes = largest / 1_000_000;
    format!(
        "it has {} and at most {megabytes} MB are read (--largest)",
        crate::report::size(size)
    )
}

fn is_file(kind: EntryType) -> bool {
    matches!(kind, EntryType::Regular | EntryType::Continuous)
}

fn seconds(entry: &Entry<'_, impl Read>) -> Result<u64, Damaged> {
    let seconds = entry.header().mtime().map_err(damaged)?;
    Ok(seconds.saturating_mul(1_000))
}

/// What headers say about the entry that follows them.
#[derive(Debug, Default)]
struct About {
    path: Option<Vec<u8>>,
    modified_ms: Option<u64>,
}

impl About {
    /// Takes an entry that is about the next one.
    fn takes(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<bool, Damaged> {
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            let mut path = header(entry)?;
            path.retain(|byte| *byte != 0);
            self.path = Some(path);
        } else if kind.is_pax_local_extensions() {
            let records = header(entry)?;
            self.records(&records)?;
        } else {
            return Ok(kind.is_pax_global_extensions() || kind.is_gnu_longlink());
        }
        Ok(true)
    }

    fn records(&mut self, records: &[u8]) -> Result<(), Damaged> {
        for record in PaxExtensions::new(records) {
            let record = record.map_err(damaged)?;
            match record.key_bytes() {
                b"path" => self.path = Some(record.value_bytes().to_vec()),
                b"mtime" => self.modified_ms = std::str::from_utf8(record.value_bytes()).ok().and_then(milliseconds),
                // It would say where the next entry begins, against the header that everybody reads.
                b"size" => return Err(Damaged("gives a file two sizes".to_owned())),
                _ => {}
            }
        }
        Ok(())
    }
}

fn header(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, Damaged> {
    if entry.size() > LARGEST_HEADER {
        return Err(Damaged("has a header of an absurd size".to_owned()));
    }
    let mut bytes = Vec::new();
    entry.take(LARGEST_HEADER).read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

/// `1763725200.089`, with as many digits after the point as there are.
fn milliseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let seconds: u64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000)?.checked_add(digits.parse().ok()?)
}

/// A path for people: short, and with nothing in it that a terminal would obey.
pub(crate) fn shown(path: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(path).chars().take(100).collect();
    text.escape_debug().to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn damaged(error: io::Error) -> Damaged {
    Damaged(match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short".to_owned(),
        _ => format!("cannot be read: {}", shown(error.to_string().as_bytes())),
    })
}

/// Remembers whether the last read met the end.
struct Watched<R> {
    inner: R,
    ended: Rc<Cell<bool>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.ended.set(read == 0 && !buffer.is_empty());
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
