//! What Elasticsearch refuses: written again without what it cannot index, which the document keeps beside
//! ([`Aside`]). So a type that nobody foresaw costs a search by one field, and neither the document nor its neighbours.
//!
//! An error stub and a dead letter are for what is refused even so: a document larger than a request may be, or a
//! mapping that someone changed by hand. The stub takes the place, so that no predecessor stays.

use bugstream_archive::Aside;
use bugstream_kit::consume::{Lease, Outcome, Received};
use bugstream_kit::dead_letter::{Kind, Origin, Rejection};
use bugstream_proto::{topology, v1};

use crate::bulk::{Batch, Refused, Written};
use crate::document::{Renderer, reason};
use crate::index::Indexer;
use crate::plan::Write;

/// A write that was refused, the last time for that reason.
struct Attempt {
    write: Write,
    why: Refused,
    aside: Aside,
}

impl Attempt {
    /// Whether there is something else to try.
    fn goes_on(&mut self) -> bool {
        // A text in its JSON is no shorter than that.
        self.why.error_type != "http_413" && self.aside.grow(&self.why.field, &reason(&self.why))
    }
}

impl Indexer {
    /// Writes refused documents in what form Elasticsearch takes; the rest of the issue goes on.
    pub(crate) async fn put_aside(
        &self,
        refused: Vec<(Write, Refused)>,
        renderer: &Renderer<'_>,
        message: &Received,
        lease: &Lease,
    ) -> Result<(), Outcome> {
        let aside = Aside::default;
        let mut tried: Vec<Attempt> = refused
            .into_iter()
            .map(|(write, why)| Attempt {
                write,
                why,
                aside: aside(),
            })
            .collect();
        let mut hopeless = Vec::new();
        while !tried.is_empty() {
            hopeless.extend(tried.extract_if(.., |attempt| !attempt.goes_on()));
            tried = self.try_again(tried, renderer, lease).await?;
        }
        self.give_up(&hopeless, renderer, message, lease).await
    }

    /// Those that are refused once more.
    async fn try_again(
        &self,
        attempts: Vec<Attempt>,
        renderer: &Renderer<'_>,
        lease: &Lease,
    ) -> Result<Vec<Attempt>, Outcome> {
        let mut batch = Batch::default();
        for attempt in &attempts {
            renderer.push_less(attempt.write, Some(&attempt.aside), &mut batch);
        }
        let mut again = Vec::new();
        for (attempt, result) in attempts.into_iter().zip(self.bulk(batch, lease).await?) {
            match result {
                Written::Refused(why) => again.push(Attempt { why, ..attempt }),
                Written::Written | Written::Newer => {
                    let (document, why) = (renderer.place(attempt.write).1, reason(&attempt.why));
                    tracing::warn!(%document, why, "elasticsearch cannot index a part, which is kept beside");
                }
            }
        }
        Ok(again)
    }

    /// Error stubs take the places, and each becomes a dead letter.
    async fn give_up(
        &self,
        hopeless: &[Attempt],
        renderer: &Renderer<'_>,
        message: &Received,
        lease: &Lease,
    ) -> Result<(), Outcome> {
        let mut batch = Batch::default();
        for Attempt { write, why, .. } in hopeless {
            renderer.push_error(*write, why, &mut batch);
        }
        let results = self.bulk(batch, lease).await?;
        if results.iter().any(|result| matches!(result, Written::Refused(_))) {
            return Err(Outcome::reject(
                Kind::Document,
                "Elasticsearch refuses even an error stub: look at its mapping",
            ));
        }
        for Attempt { write, why, .. } in hopeless {
            let letter = dead_letter(renderer.place(*write), why);
            let published = self.dead_letters.publish(origin(message), &letter).await;
            published.map_err(|error| Outcome::away(error.to_string()))?;
        }
        Ok(())
    }
}

fn dead_letter((index, document_id): (&str, impl std::fmt::Display), why: &Refused) -> Rejection {
    let (index, document_id) = (index.to_owned(), document_id.to_string());
    let Refused { error_type, field } = why.clone();
    let reason = format!("Elasticsearch refuses document {document_id} of {index}: {error_type}, field {field:?}");
    let refusal = Some(Box::new(v1::Refusal {
        index,
        document_id,
        error_type,
        field,
    }));
    Rejection {
        refusal,
        ..Rejection::new(Kind::Document, reason)
    }
}

fn origin(message: &Received) -> Origin<'_> {
    Origin {
        stream: topology::ISSUES,
        subject: &message.spelling,
        sequence: message.sequence,
        attempts: message.attempts + 1,
        headers: message.headers.as_ref(),
        payload: &message.payload,
    }
}
