//! Whose JSON it is, for bytes that come from elsewhere than GitHub's answer to a question.

use bugstream_proto::IssueId;

use crate::outline::Value;
use crate::parse::Archived;
use crate::reference::repositories_of;

/// Why JSON is not the issue's. Quotes no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OtherIssue {
    /// Its `number` is another, or it has none.
    #[error("the issue has another number")]
    Number,
    /// It says that it lies in another repository.
    #[error("the issue belongs to another repository")]
    Repository,
}

impl Archived<'_> {
    /// Whether the JSON says that it is this issue. One that names no repository is believed.
    ///
    /// # Errors
    /// [`OtherIssue`].
    pub fn belongs_to(&self, issue: &IssueId) -> Result<(), OtherIssue> {
        let number = self.issue().get("number").map(Value::json);
        if number != Some(issue.number().to_string().as_str()) {
            return Err(OtherIssue::Number);
        }
        let mut named = repositories_of(self.issue()).peekable();
        if named.peek().is_none() || named.any(|place| place == *issue.repo()) {
            Ok(())
        } else {
            Err(OtherIssue::Repository)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_says_its_number_and_mostly_its_repository() {
        let issue = "o/r".parse::<bugstream_proto::RepoName>().unwrap().issue(7).unwrap();
        let table = [
            (r#"{"number":7}"#, Ok(())),
            (
                r#"{"number":7,"repository_url":"https://api.github.com/repos/O/R"}"#,
                Ok(()),
            ),
            (
                r#"{"number":7,"url":"https://api.github.com/repos/o/other/issues/7"}"#,
                Err(OtherIssue::Repository),
            ),
            (r#"{"number":8}"#, Err(OtherIssue::Number)),
            (r#"{"number":"7"}"#, Err(OtherIssue::Number)),
            ("{}", Err(OtherIssue::Number)),
        ];
        for (json, want) in table {
            let archived = Archived::parse(json.as_bytes(), b"[]").unwrap();
            assert_eq!(archived.belongs_to(&issue), want, "{json}");
        }
    }
}
