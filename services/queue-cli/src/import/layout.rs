//! The layout of the old system: `<number>/issue.json` and `<number>/timeline.json`, below whatever else.

use bugstream_proto::{IssueId, Part};

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of the two files of an issue.
    Of(u64, Part),
    /// Not ours: `index.html`, `.gitkeep`, a folder.
    Other,
    /// What no archive of ours has.
    Wrong(&'static str),
}

/// Reads a path. Nothing is ever written to it: only the number is taken from it.
pub(crate) fn place(path: &[u8]) -> Place {
    let Ok(path) = std::str::from_utf8(path) else {
        return Place::Wrong("its name is no text");
    };
    if path.starts_with('/') {
        return Place::Wrong("its path is absolute");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Place::Wrong("its path leads out of the archive");
    }
    let part = match parts.last() {
        Some(&"issue.json") => Part::Issue,
        Some(&"timeline.json") => Part::Timeline,
        _ => return Place::Other,
    };
    match parts.iter().rev().nth(1).and_then(|folder| number(folder)) {
        Some(number) => Place::Of(number, part),
        None => Place::Wrong("it lies in no folder that is the number of an issue"),
    }
}

/// An issue's number as its folder is called: `007` is none.
pub(crate) fn number(folder: &str) -> Option<u64> {
    let number = IssueId::parse_number(folder).ok()?;
    (number.to_string() == folder).then_some(number)
}

pub(crate) fn file_name(part: Part) -> &'static str {
    match part {
        Part::Issue => "issue.json",
        Part::Timeline => "timeline.json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_issue_by_the_folder_of_its_file() {
        let table = [
            ("20261121_1200/7/issue.json", Place::Of(7, Part::Issue)),
            ("./7/timeline.json", Place::Of(7, Part::Timeline)),
            ("./20240101_0000/7/issue.json", Place::Of(7, Part::Issue)),
            ("data/current/7//./issue.json", Place::Of(7, Part::Issue)),
            ("./", Place::Other),
            ("./index.html", Place::Other),
            ("7/", Place::Other),
            ("7/.gitkeep", Place::Other),
            ("7/issue.json.bak", Place::Other),
            ("7.json", Place::Other),
        ];
        for (path, want) in table {
            assert_eq!(place(path.as_bytes()), want, "{path}");
        }
        for path in [
            "issue.json",
            "abc/issue.json",
            "007/issue.json",
            "+7/issue.json",
            "0/issue.json",
            "-7/timeline.json",
            "99999999999999999999/issue.json",
            "/7/issue.json",
            "../7/issue.json",
            "a/../../7/issue.json",
            "../../etc/passwd",
        ] {
            assert!(matches!(place(path.as_bytes()), Place::Wrong(_)), "{path}");
        }
        assert!(matches!(place(b"\xff/issue.json"), Place::Wrong(_)));
    }
}
