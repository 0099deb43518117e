//! Who an issue is: repository and number, as newtypes that refuse what GitHub would never name so.
//!
//! GitHub ignores the case of owner and repository names, so identity here is the lower-case form: two spellings of
//! one issue are one issue, one subject and one object key.

use std::fmt;
use std::str::FromStr;

/// Why a text names no repository or issue. Its text never quotes more than the offending token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not `owner/name`.
    #[error("{0:?} is not a repository: write owner/name")]
    Shape(String),
    /// The owner has a character that GitHub allows in no account name, or is empty or too long.
    #[error("{0:?} is not a GitHub account name (letters, digits, '-' and '_', at most 100)")]
    Owner(String),
    /// The name has a character that GitHub allows in no repository name, or is empty or too long.
    #[error("{0:?} is not a repository name (letters, digits, '.', '-' and '_', at most 100)")]
    Repo(String),
    /// Not a whole number from 1 up that fits 53 bits (JSON's safe integers, far above any issue).
    #[error("{0:?} is not an issue number (a whole number from 1 up)")]
    Number(String),
}

/// A repository, `owner/name`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoName {
    owner: String,
    repo: String,
}

impl RepoName {
    /// Checks both parts and lowers their case.
    ///
    /// # Errors
    /// [`IdError::Owner`] or [`IdError::Repo`] for what GitHub would refuse.
    pub fn new(owner: &str, repo: &str) -> Result<Self, IdError> {
        let account = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !is_name(owner, account) {
            return Err(IdError::Owner(clip(owner)));
        }
        if !is_name(repo, |c| account(c) || c == '.') || repo == "." || repo == ".." {
            return Err(IdError::Repo(clip(repo)));
        }
        Ok(Self {
            owner: owner.to_ascii_lowercase(),
            repo: repo.to_ascii_lowercase(),
        })
    }

    /// The account that owns the repository.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository's name without its owner.
    #[must_use]
    pub fn repo(&self) -> &str {
        &self.repo
    }

    /// The issue of this repository with that number.
    ///
    /// # Errors
    /// [`IdError::Number`] for 0 and for what no JSON number holds exactly.
    pub fn issue(&self, number: u64) -> Result<IssueId, IdError> {
        IssueId::new(self.clone(), number)
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.repo)
    }
}

impl FromStr for RepoName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (owner, repo) = text.split_once('/').ok_or_else(|| IdError::Shape(clip(text)))?;
        Self::new(owner, repo)
    }
}

/// An issue (or pull request) of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssueId {
    repo: RepoName,
    number: u64,
}

impl IssueId {
    /// The largest number accepted: JSON's largest safe integer.
    pub const MAX_NUMBER: u64 = (1 << 53) - 1;

    /// An issue by repository and number.
    ///
    /// # Errors
    /// [`IdError::Number`] outside 1..=[`Self::MAX_NUMBER`].
    pub fn new(repo: RepoName, number: u64) -> Result<Self, IdError> {
        if (1..=Self::MAX_NUMBER).contains(&number) {
            Ok(Self { repo, number })
        } else {
            Err(IdError::Number(number.to_string()))
        }
    }

    /// The repository it belongs to.
    #[must_use]
    pub fn repo(&self) -> &RepoName {
        &self.repo
    }

    /// Its number, at least 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Reads a number as people and subjects write it: digits only, so `+5`, `5.0` and `0x5` are refused.
    ///
    /// # Errors
    /// [`IdError::Number`].
    pub fn parse_number(text: &str) -> Result<u64, IdError> {
        let wrong = || IdError::Number(clip(text));
        if text.is_empty() || text.len() > 16 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = text.parse().map_err(|_| wrong())?;
        if (1..=Self::MAX_NUMBER).contains(&number) {
            Ok(number)
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for IssueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.repo, self.number)
    }
}

fn is_name(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    (1..=100).contains(&text.len()) && text.chars().all(allowed)
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case() {
        let a: RepoName = "WebCompat/Web-Bugs".parse().unwrap();
        assert_eq!(a, RepoName::new("webcompat", "web-bugs").unwrap());
        assert_eq!(a.to_string(), "webcompat/web-bugs");
    }

    #[test]
    fn what_github_never_names_so_is_refused() {
        for text in [
            "", "a", "/", "a/", "/b", "a/b/c", "a b/c", "a/b c", "a/..", "a/.", "a.b/c", "a/*", "a/>", "ä/b",
        ] {
            assert!(text.parse::<RepoName>().is_err(), "{text:?} was accepted");
        }
        assert!(RepoName::new(&"a".repeat(101), "b").is_err());
    }

    #[test]
    fn numbers_are_positive_whole_and_exact_in_json() {
        for text in [
            "",
            "0",
            "00",
            "-1",
            "+1",
            "1.0",
            "0x1",
            "abc",
            "1180591620717411303424",
            "9007199254740992",
        ] {
            assert!(IssueId::parse_number(text).is_err(), "{text:?} was accepted");
        }
        assert_eq!(IssueId::parse_number("9007199254740991"), Ok(IssueId::MAX_NUMBER));
        assert!(RepoName::new("a", "b").unwrap().issue(0).is_err());
    }
}
