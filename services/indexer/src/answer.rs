//! What Elasticsearch answers to a bulk, item by item.
//!
//! Decides by status and error type. The message is read for one thing, the name of a mapped field, and then dropped:
//! it quotes content.

use bugstream_kit::elastic::not_json;
use bytes::Bytes;
use serde::Deserialize;

use crate::bulk::{Refused, Written};
use crate::elastic::Away;

/// Where bulks go, and what of the answer is wanted.
pub(crate) const PATH: &str = "/_bulk?require_alias=true&filter_path=errors,error.type,error.reason,items.*.status,items.*.error.type,items.*.error.reason";

/// What a bulk's body is.
pub(crate) const LINES: &str = "application/x-ndjson";

/// For people: what a lacking privilege means and what to do.
pub(crate) const FORBIDDEN: &str = "Elasticsearch refuses to write (403): our credentials ([elasticsearch]) lack a privilege on \
                                    an index; docs/OPERATIONS.md lists what is needed";

/// For people: what a block means and what to do.
pub(crate) const BLOCKED: &str =
    "Elasticsearch's indices are read-only; most often its disk is full: free space, and writing resumes by itself";

/// The answer to one bulk.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// One verdict an item, in the order of the bulk.
    Items(Vec<Verdict>),
    /// Nothing was done; the same again may succeed.
    Busy,
    /// Too large, or malformed as a whole: with this HTTP status.
    Unacceptable(u16),
}

/// What became of one item.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Final(Written),
    /// To be sent again.
    Busy,
    /// Elasticsearch failed at this one, as an ingest pipeline does that someone put there: once more, and then refused.
    Failed(Refused),
    /// Someone dropped the index or its alias.
    AliasMissing,
    /// The index takes no writes.
    Blocked,
    /// Our credentials may not write there.
    Forbidden,
}

impl Verdict {
    /// Takes a failure for a refusal, if it is not to be tried again.
    pub(crate) fn settle(&mut self, give_up: bool) {
        if let (Self::Failed(why), true) = (&self, give_up) {
            *self = Self::Final(Written::Refused(why.clone()));
        }
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    items: Vec<Action<'a>>,
}

#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow)]
    index: Item<'a>,
}

#[derive(Deserialize)]
struct Item<'a> {
    status: u16,
    #[serde(borrow)]
    error: Option<Error<'a>>,
}

/// Elasticsearch's answer to what it refuses as a whole.
#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow, rename = "error")]
    _error: Error<'a>,
}

#[derive(Deserialize)]
struct Error<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    reason: std::borrow::Cow<'a, str>,
}

impl Answer {
    /// Reads the answer to a bulk.
    ///
    /// # Errors
    /// [`Away`] for what only a person or time can mend: no JSON, a status that no bulk has.
    pub(crate) fn read(status: u16, body: &Bytes) -> Result<Self, Away> {
        match status {
            200 => {
                let body: Body<'_> = serde_json::from_slice(body).map_err(|_| not_json(status, body))?;
                Ok(Self::Items(
                    body.items.iter().map(|action| action.index.verdict()).collect(),
                ))
            }
            // A proxy that refuses everything must not be taken for a document that is refused.
            400 if serde_json::from_slice::<Whole<'_>>(body).is_err() => Err(not_json(status, body)),
            400 | 413 => Ok(Self::Unacceptable(status)),
            429 | 502..=504 => Ok(Self::Busy),
            _ => Err(Away(format!("Elasticsearch answers {status} to a bulk"))),
        }
    }
}

impl Item<'_> {
    fn verdict(&self) -> Verdict {
        let kind = self.error.as_ref().map_or("", |error| &error.kind);
        match (self.status, kind) {
            (_, "cluster_block_exception") => Verdict::Blocked,
            (401 | 403, _) => Verdict::Forbidden,
            (200..300, _) => Verdict::Final(Written::Written),
            (409, _) => Verdict::Final(Written::Newer),
            (404, "index_not_found_exception") => Verdict::AliasMissing,
            (400 | 413, _) => Verdict::Final(Written::Refused(self.refused())),
            (500, _) => Verdict::Failed(self.refused()),
            _ => Verdict::Busy,
        }
    }

    fn refused(&self) -> Refused {
        let (kind, reason) = self
            .error
            .as_ref()
            .map_or(("", ""), |error| (&*error.kind, &*error.reason));
        let is_word =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && text.len() < 100;
        let error_type = if is_word(kind) { kind.to_owned() } else { String::new() };
        Refused {
            error_type,
            field: field(reason).unwrap_or_default().to_owned(),
        }
    }
}

/// The mapped field that a message of Elasticsearch begins with. Only mapped fields are parsed, so its name is ours.
fn field(reason: &str) -> Option<&str> {
    let after_position = reason
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
        .map_or(reason, |(_, rest)| rest);
    let named = ["failed to parse field [", "object mapping for ["];
    let (field, _) = named
        .iter()
        .find_map(|start| after_position.strip_prefix(start))?
        .split_once(']')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-');
    (field.len() < 100 && field.bytes().all(is_name)).then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(item: &str) -> Verdict {
        let body = Bytes::from(format!(r#"{{"errors":true,"items":[{{"index":{item}}}]}}"#));
        let Ok(Answer::Items(mut items)) = Answer::read(200, &body) else {
            panic!("not understood: {item}")
        };
        items.remove(0)
    }

    fn refused(error_type: &str, field: &str) -> Verdict {
        Verdict::Final(Written::Refused(Refused {
            error_type: error_type.to_owned(),
            field: field.to_owned(),
        }))
    }

    #[test]
    fn every_item_gets_a_verdict_by_status_and_type() {
        let table = [
            (r#"{"status":201}"#, Verdict::Final(Written::Written)),
            (r#"{"status":200}"#, Verdict::Final(Written::Written)),
            (
                r#"{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"x"}}"#,
                Verdict::Final(Written::Newer),
            ),
            (
                r#"{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"x"}}"#,
                Verdict::Busy,
            ),
            (
                r#"{"status":503,"error":{"type":"unavailable_shards_exception","reason":"x"}}"#,
                Verdict::Busy,
            ),
            (
                r#"{"status":500,"error":{"type":"class_cast_exception","reason":"x"}}"#,
                Verdict::Failed(Refused {
                    error_type: "class_cast_exception".to_owned(),
                    field: String::new(),
                }),
            ),
            (
                r#"{"status":404,"error":{"type":"index_not_found_exception","reason":"x"}}"#,
                Verdict::AliasMissing,
            ),
            (
                r#"{"status":429,"error":{"type":"cluster_block_exception","reason":"x"}}"#,
                Verdict::Blocked,
            ),
            (
                r#"{"status":403,"error":{"type":"cluster_block_exception","reason":"x"}}"#,
                Verdict::Blocked,
            ),
        ];
        for (item, verdict) in table {
            assert_eq!(one(item), verdict, "{item}");
        }
    }

    #[test]
    fn a_refusal_names_the_field_and_nothing_of_the_content() {
        let table = [
            (
                "[1:16] failed to parse field [title] of type [text] in document with id '3'. Preview of field's value: 'x'",
                "title",
            ),
            (
                "[1:40] object mapping for [labels] tried to parse field [null] as object, but found a concrete value",
                "labels",
            ),
            ("failed to parse field [reactions.+1] of type [long]", "reactions.+1"),
            ("failed to parse field [a secret] of type [long]", ""),
            ("[1:2] field [secret] is odd", ""),
            ("secret", ""),
            ("", ""),
        ];
        for (reason, field) in table {
            let item =
                format!(r#"{{"status":400,"error":{{"type":"document_parsing_exception","reason":"{reason}"}}}}"#);
            assert_eq!(one(&item), refused("document_parsing_exception", field), "{reason}");
        }
        assert_eq!(
            one(r#"{"status":400,"error":{"type":"A secret","reason":"\n\"secret"}}"#),
            refused("", "")
        );
    }

    #[test]
    fn a_whole_answer_may_be_busy_too_large_or_hopeless() {
        let read = |status| Answer::read(status, &Bytes::new());
        assert_eq!(read(429), Ok(Answer::Busy));
        assert_eq!(read(503), Ok(Answer::Busy));
        assert_eq!(read(413), Ok(Answer::Unacceptable(413)));
        assert!(read(401).is_err() && read(500).is_err() && read(200).is_err());
    }
}
