//! From stored bytes to an issue and its timeline, or to an error that says what is wrong and where.
//!
//! Checks form, not meaning: one object, one array of objects, valid UTF-8 and JSON throughout. GitHub may add members
//! and event kinds at any time, so none is required. Errors never quote content: stored JSON may be private.

use std::fmt;

use serde_json::error::Category;

use crate::outline::{Kind, Outline, Value};

/// An issue and its timeline, borrowed from their stored bytes.
#[derive(Debug)]
pub struct Archived<'a> {
    pub(crate) issue: Outline<'a>,
    pub(crate) timeline: Outline<'a>,
    /// Where each event is in the timeline's outline.
    events: Vec<usize>,
}

/// Which part of the stored JSON an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The issue's object.
    Issue,
    /// The timeline's array.
    Timeline,
    /// The element of the timeline's array at this position (from 0).
    Event(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue => f.write_str("issue"),
            Self::Timeline => f.write_str("timeline"),
            Self::Event(position) => write!(f, "timeline event {position}"),
        }
    }
}

/// What is wrong with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It ends before it is complete.
    #[error("is cut short (after line {line}, column {column})")]
    Truncated {
        /// Line, from 1.
        line: usize,
        /// Byte in the line, from 1; 0 right after a line's end.
        column: usize,
    },
    /// It is not JSON, or not UTF-8.
    #[error("is not JSON (line {line}, column {column})")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Byte in the line, from 1; 0 right after a line's end.
        column: usize,
    },
    /// It is JSON of another kind.
    #[error("is {found}, not {expected}")]
    Shape {
        /// For example "a string".
        found: &'static str,
        /// For example "an object".
        expected: &'static str,
    },
    /// An object with a member whose name is no Unicode text.
    #[error("has a member whose name is no text")]
    Name,
}

impl Problem {
    fn of(self, part: Part) -> ArchiveError {
        ArchiveError { part, problem: self }
    }
}

/// Why stored bytes are no issue with timeline. Safe to log: nothing of the content is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {part} {problem}")]
pub struct ArchiveError {
    /// Where.
    pub part: Part,
    /// What.
    pub problem: Problem,
}

impl<'a> Archived<'a> {
    /// Reads an issue's stored object and its timeline's stored array.
    ///
    /// # Errors
    /// [`ArchiveError`] if either is not whole and valid, or not of that shape.
    pub fn parse(issue: &'a [u8], timeline: &'a [u8]) -> Result<Self, ArchiveError> {
        let issue = outline(issue, Part::Issue)?;
        expect_kind(issue.root(), Kind::Object, Part::Issue)?;
        if issue.root().members().is_none() {
            return Err(Problem::Name.of(Part::Issue));
        }
        let timeline = outline(timeline, Part::Timeline)?;
        let events = events(&timeline)?;
        Ok(Self {
            issue,
            timeline,
            events,
        })
    }

    /// The timeline's events as received, in their order.
    #[must_use]
    pub fn timeline(&self) -> impl ExactSizeIterator<Item = &str> {
        self.events.iter().map(|event| self.timeline.value(*event).json())
    }

    /// The issue's object.
    pub(crate) fn issue(&self) -> Value<'_> {
        self.issue.root()
    }

    /// An event's object.
    ///
    /// # Panics
    /// If the timeline has no such position.
    pub(crate) fn event(&self, position: usize) -> Value<'_> {
        self.timeline.value(self.events[position])
    }
}

fn outline(bytes: &[u8], part: Part) -> Result<Outline<'_>, ArchiveError> {
    Outline::of(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let problem = match error.classify() {
            Category::Eof => Problem::Truncated { line, column },
            _ => Problem::Syntax { line, column },
        };
        problem.of(part)
    })
}

fn events(timeline: &Outline<'_>) -> Result<Vec<usize>, ArchiveError> {
    expect_kind(timeline.root(), Kind::Array, Part::Timeline)?;
    let elements = timeline.root().elements().into_iter().flatten();
    let event = |(position, event): (usize, Value<'_>)| {
        expect_kind(event, Kind::Object, Part::Event(position))?;
        Ok(event.index())
    };
    elements.enumerate().map(event).collect()
}

fn expect_kind(value: Value<'_>, expected: Kind, part: Part) -> Result<(), ArchiveError> {
    let found = value.kind();
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (found.article(), expected.article());
    Err(Problem::Shape { found, expected }.of(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(issue: &[u8], timeline: &[u8]) -> String {
        Archived::parse(issue, timeline).unwrap_err().to_string()
    }

    #[test]
    fn errors_say_what_and_where() {
        let table: [(&[u8], &[u8], &str); 14] = [
            (b"", b"[]", "the issue is cut short (after line 1, column 0)"),
            (
                b"{\"title\": \"secr",
                b"[]",
                "the issue is cut short (after line 1, column 15)",
            ),
            (b"[]", b"[]", "the issue is an array, not an object"),
            (b"\"secret\"", b"[]", "the issue is a string, not an object"),
            (b"null", b"[]", "the issue is null, not an object"),
            (b"<html>", b"[]", "the issue is not JSON (line 1, column 1)"),
            (b"{}{}", b"[]", "the issue is not JSON (line 1, column 3)"),
            (b"{\"a\":\"\xff\"}", b"[]", "the issue is not JSON (line 1, column 7)"),
            (
                b"{\"\\ud800\":1}",
                b"[]",
                "the issue has a member whose name is no text",
            ),
            (b"{}", b"[{},\n{}", "the timeline is cut short (after line 2, column 2)"),
            (b"{}", b"{\"secret\":1}", "the timeline is an object, not an array"),
            (b"{}", b"[{},]", "the timeline is not JSON (line 1, column 5)"),
            (
                b"{}",
                b"[{},\"secret\"]",
                "the timeline event 1 is a string, not an object",
            ),
            (b"{}", b"[{},{},[]]", "the timeline event 2 is an array, not an object"),
        ];
        for (issue, timeline, want) in table {
            let got = error(issue, timeline);
            assert_eq!(got, want);
            assert!(!got.contains("secr"), "{got} quotes content");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let issue = br#"{"title":"a\u00e4","n":[1,{"x":null}],"t":true}"#;
        let timeline = br#"[{"event":"closed"},{"event":"x"}]"#;
        assert!(Archived::parse(issue, timeline).is_ok());
        for cut in 0..issue.len() {
            assert!(Archived::parse(&issue[..cut], timeline).is_err(), "issue cut at {cut}");
        }
        for cut in 0..timeline.len() {
            assert!(
                Archived::parse(issue, &timeline[..cut]).is_err(),
                "timeline cut at {cut}"
            );
        }
    }

    #[test]
    fn valid_json_that_no_float_or_stack_holds_is_accepted() {
        let deep = format!("{{\"a\":1e400,\"b\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(Archived::parse(deep.as_bytes(), b" [ ] ").is_ok());
    }
}
