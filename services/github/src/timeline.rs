//! A whole timeline: every page, or an error.

use bugstream_proto::IssueId;
use bugstream_telemetry::names::Route;
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::body;
use crate::client::Client;
use crate::error::Error;
use crate::link::Pages;

/// A timeline, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTimeline {
    /// One JSON array; each element exactly as received.
    pub bytes: Bytes,
    /// Number of its elements.
    pub events: u32,
}

impl Client {
    /// Asks for every page of an issue's timeline and joins them.
    ///
    /// # Errors
    /// [`Error`] if any page fails; [`Error::Vanished`] if there is no timeline.
    pub async fn timeline(&self, issue: &IssueId) -> Result<RawTimeline, Error> {
        let path = format!("repos/{}/issues/{}/timeline?per_page=100", issue.repo(), issue.number());
        let first = self.url(&path);
        let mut pages = Pages::new(self.base(), &first);
        let mut joined = Joined::default();
        let mut next = Some(first);
        while let Some(url) = next {
            let answer = self.get(Route::Timeline, url).await?;
            if answer.status != reqwest::StatusCode::OK {
                return Err(Error::Vanished {
                    status: answer.status.as_u16(),
                });
            }
            joined.add(&answer.body, self.max_body())?;
            next = pages.next(&answer.headers)?;
        }
        Ok(joined.finish())
    }
}

#[derive(Debug, Default)]
struct Joined {
    bytes: BytesMut,
    events: u32,
}

impl Joined {
    fn add(&mut self, page: &[u8], limit: usize) -> Result<(), Error> {
        for event in body::objects(page)? {
            if self.bytes.len() + event.get().len() + 2 > limit {
                return Err(Error::TooLarge { limit });
            }
            self.bytes.put_u8(if self.events == 0 { b'[' } else { b',' });
            self.bytes.put_slice(event.get().as_bytes());
            self.events += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> RawTimeline {
        self.bytes.put_slice(if self.events == 0 { b"[]" } else { b"]" });
        RawTimeline {
            bytes: self.bytes.freeze(),
            events: self.events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pages: &[&str]) -> Result<(String, u32), Error> {
        let mut joined = Joined::default();
        pages.iter().try_for_each(|page| joined.add(page.as_bytes(), 40))?;
        let whole = joined.finish();
        Ok((String::from_utf8(whole.bytes.to_vec()).unwrap(), whole.events))
    }

    #[test]
    fn elements_stay_as_received() {
        let table: &[(&[&str], &str, u32)] = &[
            (&["[]"], "[]", 0),
            (&[" [ ] ", "[]"], "[]", 0),
            (&["[{\"a\": 1e400}]"], "[{\"a\": 1e400}]", 1),
            (
                &["[{ \"\\u0061\":1},\n {}]", "[]", "[{\"b\":2}]"],
                "[{ \"\\u0061\":1},{},{\"b\":2}]",
                3,
            ),
        ];
        for (pages, want, events) in table {
            assert_eq!(joined(pages).unwrap(), ((*want).to_owned(), *events), "{pages:?}");
        }
    }

    #[test]
    fn a_page_that_is_no_list_spoils_the_whole() {
        for page in ["", "{}", "[{}", "[1]", "null", "<html>"] {
            assert!(
                matches!(joined(&["[{}]", page]), Err(Error::Malformed { .. })),
                "{page}"
            );
        }
        let long = format!("[{{\"a\":\"{}\"}}]", "x".repeat(20));
        assert!(matches!(joined(&[&long, &long]), Err(Error::TooLarge { limit: 40 })));
    }
}
