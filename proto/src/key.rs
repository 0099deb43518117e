//! Object keys: `issues/<owner>/<repo>/<number>/<revision>-<nonce>/{issue,timeline}.json[.zst]`.
//!
//! The key carries revision and nonce, so that no two workers ever write the same key. Which object is the newest is
//! what the log names, never what a listing shows.

use std::fmt;
use std::str::FromStr;

use crate::ids::{IssueId, RepoName};
use crate::v1::Compression;

/// Which of an issue's two objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The answer of `GET issue`.
    Issue,
    /// All pages of `GET timeline` joined into one array.
    Timeline,
}

/// Sixteen hexadecimal digits that tell apart two workers with the same revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Nonce(String);

impl Nonce {
    /// Prints random bits as a nonce.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(format!("{bits:016x}"))
    }

    /// The sixteen digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no object key of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an object key: issues/<owner>/<repo>/<number>/<revision>-<nonce>/{{issue,timeline}}.json[.zst]")]
pub struct KeyError;

/// The key of one object of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// Whose raw JSON it is.
    pub issue: IssueId,
    /// The revision it was stored for; a later event may name it again.
    pub revision: u64,
    /// Who stored it.
    pub nonce: Nonce,
    /// Issue or timeline.
    pub part: Part,
    /// How its bytes are stored.
    pub compression: Compression,
}

impl ObjectKey {
    /// The prefix under which every object of an issue lies, without a trailing slash.
    #[must_use]
    pub fn prefix(issue: &IssueId) -> String {
        format!("issues/{}/{}", issue.repo(), issue.number())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Issue => "issue",
            Part::Timeline => "timeline",
        };
        let ending = if self.compression == Compression::Zstd {
            ".zst"
        } else {
            ""
        };
        write!(
            f,
            "{}/{}-{}/{part}.json{ending}",
            Self::prefix(&self.issue),
            self.revision,
            self.nonce.as_str()
        )
    }
}

impl FromStr for ObjectKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts: Vec<&str> = text.split('/').collect();
        let ["issues", owner, repo, number, version, file] = parts[..] else {
            return Err(KeyError);
        };
        let (revision, nonce) = version.split_once('-').ok_or(KeyError)?;
        let (file, compression) = match file.strip_suffix(".zst") {
            Some(file) => (file, Compression::Zstd),
            None => (file, Compression::None),
        };
        let part = match file {
            "issue.json" => Part::Issue,
            "timeline.json" => Part::Timeline,
            _ => return Err(KeyError),
        };
        let repo = RepoName::new(owner, repo).map_err(|_| KeyError)?;
        let issue = repo
            .issue(IssueId::parse_number(number).map_err(|_| KeyError)?)
            .map_err(|_| KeyError)?;
        Ok(Self {
            issue,
            revision: revision.parse().map_err(|_| KeyError)?,
            nonce: parse_nonce(nonce)?,
            part,
            compression,
        })
    }
}

fn parse_nonce(text: &str) -> Result<Nonce, KeyError> {
    let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits {
        Ok(Nonce(text.to_owned()))
    } else {
        Err(KeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_print_and_parse_back() {
        for (part, compression, text) in [
            (
                Part::Issue,
                Compression::None,
                "issues/a/b.c/7/1700000000000-00000000000000ff/issue.json",
            ),
            (
                Part::Timeline,
                Compression::Zstd,
                "issues/a/b.c/7/1700000000000-00000000000000ff/timeline.json.zst",
            ),
        ] {
            let issue = RepoName::new("a", "b.c").unwrap().issue(7).unwrap();
            let key = ObjectKey {
                issue,
                revision: 1_700_000_000_000,
                nonce: Nonce::from_bits(255),
                part,
                compression,
            };
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse(), Ok(key));
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in [
            "",
            "issues/a/b/7",
            "issues/a/b/7/1-xyz/issue.json",
            "issues/a/b/0/1-0000000000000000/issue.json",
            "issues/a/../7/1-0000000000000000/issue.json",
            "issues/a/b/7/1-0000000000000000/other.json",
        ] {
            assert_eq!(text.parse::<ObjectKey>(), Err(KeyError), "{text}");
        }
    }
}
