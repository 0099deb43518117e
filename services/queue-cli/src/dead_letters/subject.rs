//! What a letter is about, as the subject of its message says.

use std::fmt;

use bugstream_proto::{IssueId, RepoName, Subject, Task, TaskSubject};

use super::words::line;

/// An issue, a task, or nothing that anybody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    Issue(IssueId),
    Task(Task, RepoName),
    /// The subject as it was spelled.
    Nothing(String),
}

impl About {
    pub(super) fn of(subject: &str) -> Self {
        if let Ok(Subject { issue, .. }) = subject.parse() {
            return Self::Issue(issue);
        }
        match subject.parse() {
            Ok(TaskSubject { task, repo, .. }) => Self::Task(task, repo),
            Err(_) => Self::Nothing(subject.to_owned()),
        }
    }

    pub(super) fn issue(&self) -> Option<&IssueId> {
        match self {
            Self::Issue(issue) => Some(issue),
            Self::Task(..) | Self::Nothing(_) => None,
        }
    }

    pub(super) fn repository(&self) -> Option<&RepoName> {
        match self {
            Self::Issue(issue) => Some(issue.repo()),
            Self::Task(_, repo) => Some(repo),
            Self::Nothing(_) => None,
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue(issue) => write!(f, "{issue}"),
            Self::Task(task, repo) => write!(f, "{} of {repo}", task.token()),
            Self::Nothing(subject) => f.write_str(&line(subject, 60)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_shown_as_what_it_is_about() {
        let table = [
            ("issue.A.b%2Ec.7", "a/b.c#7", Some("a/b.c")),
            ("retry.index.a.b.7", "a/b#7", Some("a/b")),
            ("schedule.sweep.a.b", "sweep of a/b", Some("a/b")),
            ("download.12345", "download.12345", None),
            ("download.\u{1b}[31m\n", "download.\u{fffd}[31m\u{fffd}", None),
        ];
        for (subject, shown, repository) in table {
            let about = About::of(subject);
            let found = about.repository().map(ToString::to_string);
            assert_eq!((about.to_string().as_str(), found.as_deref()), (shown, repository));
        }
    }
}
