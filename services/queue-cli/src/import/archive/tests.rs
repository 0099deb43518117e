use std::io::Write as _;

use bugstream_proto::Part;
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::Header;

use super::*;

const LARGEST: u64 = 100_000;

/// An archive with whatever headers somebody wrote into it.
struct Forged(Vec<u8>);

impl Forged {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn entry(self, kind: EntryType, path: &str, bytes: &[u8]) -> Self {
        self.sized(kind, path, bytes.len() as u64, bytes)
    }

    fn file(self, path: &str, bytes: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, bytes)
    }

    /// A header that may lie about what follows.
    fn sized(mut self, kind: EntryType, path: &str, size: u64, bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn ended(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1_024]);
        zipped(&self.0)
    }
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap()
}

fn all(bytes: &[u8]) -> (Vec<Seen>, Result<(), Damaged>) {
    let mut seen = Vec::new();
    let end = read(
        bytes,
        LARGEST,
        |number| number != 99,
        |one| {
            seen.push(one);
            true
        },
    );
    (seen, end)
}

fn whys(seen: &[Seen]) -> Vec<String> {
    let broken = seen.iter().filter_map(|one| match one {
        Seen::Broken(broken) => Some(format!("{}: {}", broken.path, broken.why)),
        _ => None,
    });
    broken.collect()
}

fn why(bytes: &[u8]) -> String {
    all(bytes).1.unwrap_err().to_string()
}

fn two() -> Forged {
    let root = Forged::new().entry(EntryType::Directory, "./", b"");
    let page = root.file("./index.html", b"<html>").file("./.gitkeep", b"");
    let folder = page.entry(EntryType::Directory, "./7/", b"");
    folder.file("./7/issue.json", b"{}").file("./7/timeline.json", b"[]")
}

#[test]
fn an_archive_of_the_old_system_is_read() {
    let (seen, end) = all(&two().file("./99/issue.json", b"{}").ended());
    assert_eq!(end, Ok(()));
    let file = |part, bytes: &'static [u8]| {
        Seen::File(File {
            number: 7,
            part,
            modified_ms: 1_700_000_000_000,
            bytes: bytes.into(),
        })
    };
    assert_eq!(
        seen,
        [
            file(Part::Issue, b"{}"),
            file(Part::Timeline, b"[]"),
            Seen::Unwanted(99)
        ]
    );
}

#[test]
fn every_truncation_is_noticed() {
    let whole = two().ended();
    for cut in 0..whole.len() {
        assert!(all(&whole[..cut]).1.is_err(), "cut at {cut}");
    }
    let mut unzipped = Vec::new();
    MultiGzDecoder::new(&whole[..]).read_to_end(&mut unzipped).unwrap();
    for cut in (0..unzipped.len() - 1_024).step_by(512) {
        assert_eq!(
            why(&zipped(&unzipped[..cut])),
            "the archive is cut short",
            "cut at {cut}"
        );
    }
}

#[test]
fn what_is_no_archive_is_said() {
    assert!(why(b"PK\x03\x04 and so on").starts_with("the archive cannot be read"));
    assert_eq!(why(b""), "the archive is cut short");
    assert!(why(&zipped(&[7; 2_048])).starts_with("the archive cannot be read"));
    let mut flipped = two().ended();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    assert!(all(&flipped).1.is_err());
}

#[test]
fn paths_that_lead_elsewhere_and_links_are_refused_and_the_rest_is_read() {
    let forged = Forged::new()
        .file("../7/issue.json", b"{}")
        .file("a/../../../etc/7/issue.json", b"{}")
        .file("/etc/7/issue.json", b"{}")
        .file("../../etc/passwd", b"root")
        .file("seven/issue.json", b"{}")
        .file("1e3/timeline.json", b"[]")
        .entry(EntryType::Symlink, "7/issue.json", b"")
        .entry(EntryType::Link, "7/timeline.json", b"")
        .entry(EntryType::Symlink, "8", b"")
        .entry(EntryType::Fifo, "9/issue.json", b"")
        .entry(EntryType::GNUSparse, "9/timeline.json", b"")
        .file("6/issue.json", b"{}");
    let (seen, end) = all(&forged.ended());
    assert_eq!((end, seen.len()), (Ok(()), 12));
    insta::assert_snapshot!(whys(&seen).join("\n"), @r#"
    ../7/issue.json: its path leads out of the archive
    a/../../../etc/7/issue.json: its path leads out of the archive
    /etc/7/issue.json: its path is absolute
    ../../etc/passwd: its path leads out of the archive
    seven/issue.json: it lies in no folder that is the number of an issue
    1e3/timeline.json: it lies in no folder that is the number of an issue
    7/issue.json: it is a link or no file
    7/timeline.json: it is a link or no file
    8: it is a link or no file
    9/issue.json: it is a link or no file
    9/timeline.json: it is a link or no file
    "#);
}

#[test]
fn sizes_that_are_absurd_are_refused_before_anything_is_read() {
    let large = vec![b' '; 100_001];
    let forged = Forged::new().file("7/issue.json", &large).file("6/issue.json", b"{}");
    let (seen, end) = all(&forged.ended());
    assert_eq!(end, Ok(()));
    assert_eq!(
        whys(&seen),
        ["7/issue.json: it has 100.0 kB and at most 0 MB are read (--largest)"]
    );
    assert!(matches!(seen[1], Seen::File(_)), "the rest is read");

    // It says that it is larger than any disk, and ends.
    let lie = Forged::new().sized(EntryType::Regular, "7/issue.json", 1 << 60, b"{}");
    let (seen, end) = all(&lie.ended());
    assert_eq!((whys(&seen).len(), end), (1, Err(Damaged("is cut short".to_owned()))));
}

#[test]
fn headers_about_headers_are_bounded_and_agree_with_the_header() {
    let name = "./20240101_0000/7/issue.json";
    let long = Forged::new().entry(EntryType::GNULongName, "././@LongLink", format!("{name}\0").as_bytes());
    let record = |text: &str| format!("{} {text}\n", text.len() + 4);
    let pax = |text: &str| record(text).into_bytes();
    let times = long
        .file("cut off", b"{}")
        .entry(EntryType::XGlobalHeader, "g", &pax("comment=about all"))
        .entry(EntryType::XHeader, "x", &pax("mtime=1700000001.25"))
        .file("7/timeline.json", b"[]");
    let (seen, end) = all(&times.ended());
    assert_eq!(end, Ok(()));
    let times: Vec<u64> = seen
        .iter()
        .map(|one| match one {
            Seen::File(file) => file.modified_ms,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times, [1_700_000_000_000, 1_700_000_001_250]);

    let sizes = Forged::new().entry(EntryType::XHeader, "x", &pax("size=1000000000000"));
    assert_eq!(
        why(&sizes.file("7/issue.json", b"{}").ended()),
        "the archive gives a file two sizes"
    );
    let bomb = Forged::new().entry(EntryType::GNULongName, "././@LongLink", &vec![b'a'; 100_000]);
    assert_eq!(why(&bomb.ended()), "the archive has a header of an absurd size");
}

#[test]
fn names_are_shown_short_and_without_what_a_terminal_obeys() {
    let (seen, _) = all(&Forged::new().file("../\x1b[2J\n7/issue.json", b"{}").ended());
    assert_eq!(
        whys(&seen),
        ["../\\u{1b}[2J\\n7/issue.json: its path leads out of the archive"]
    );
    assert_eq!(shown("é".repeat(300).as_bytes()).chars().count(), 100);
}

#[test]
fn a_time_has_as_many_digits_as_its_writer_gave_it() {
    let table = [
        ("1700000000", Some(1_700_000_000_000)),
        ("1700000000.5", Some(1_700_000_000_500)),
        ("1700000000.123456789", Some(1_700_000_000_123)),
        ("-1", None),
        ("soon", None),
        ("1.x", None),
        ("18446744073709551615", None),
    ];
    for (text, want) in table {
        assert_eq!(milliseconds(text), want, "{text}");
    }
}
