//! `dead-letters show`: everything about one letter, and what a retry would ask for.

use bugstream_kit::dead_letter::{StoredLetter, StoredLetters};
use bugstream_proto::v1::issue_event::Change;
use bugstream_proto::{message, topology, v1};
use prost::Message as _;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::again;
use super::cli::Show;
use super::list::NO_LETTER;
use super::subject::About;
use super::which::away;
use super::words::{WHOLE, line};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{Report, counted, since, span, thousands, time_of};

pub(super) async fn run(show: Show, letters: &StoredLetters, deps: &Deps) -> Result<Report, Failure> {
    let found = letters.get(show.id).await.map_err(|error| away(&error))?;
    let letter = found.ok_or_else(|| {
        Failure::failed(format!("there is no letter {}", show.id)).with_fix("queue-cli dead-letters list shows them")
    })?;
    Ok(report(&letter, deps.context().clock.now()))
}

/// A line each: what it is called, for people and for programs.
struct Lines {
    lines: Vec<String>,
    json: Map<String, Value>,
}

impl Lines {
    fn new(letter: &StoredLetter, now: OffsetDateTime) -> Self {
        let (id, at) = (letter.sequence, time_of(letter.stored_at));
        let age = since(letter.stored_at, now);
        let mut json = Map::new();
        json.insert("id".to_owned(), id.into());
        json.insert("at".to_owned(), at.clone().into());
        json.insert("age_s".to_owned(), age.as_secs().into());
        let lines = vec![format!("letter {id} of {at}, {} ago", span(age))];
        Self { lines, json }
    }

    /// A text, unless it is empty.
    fn text(&mut self, name: &str, text: &str) {
        let text = line(text, WHOLE);
        self.json.insert(name.to_owned(), json!(text));
        self.say(name, &text);
    }

    fn say(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.lines.push(format!("  {name:<12}{text}"));
        }
    }

    fn value(&mut self, name: &str, value: Value, text: &str) {
        self.json.insert(name.to_owned(), value);
        self.say(name, text);
    }
}

fn report(stored: &StoredLetter, now: OffsetDateTime) -> Report {
    let mut lines = Lines::new(stored, now);
    lines.text("service", stored.service());
    match &stored.letter {
        Some(letter) => of_letter(&mut lines, letter),
        None => {
            lines.text("kind", NO_LETTER);
            lines.text("subject", &stored.subject);
            let size = stored.size as u64;
            lines.value("size", json!(size), &counted(size, "byte"));
        }
    }
    lines.text("trace", &trace_of(stored).unwrap_or_default());
    let retry = match again::of(stored) {
        Ok((again, _)) => format!("asks for {again}"),
        Err(why) => format!("not possible: {why}; {}", why.fix()),
    };
    lines.text("retry", &retry);
    Report::new(lines.lines.join("\n"), Value::Object(lines.json))
}

fn of_letter(lines: &mut Lines, letter: &v1::DeadLetter) {
    lines.text("kind", &letter.kind);
    lines.text("reason", &letter.reason);
    lines.text("stream", &letter.stream);
    lines.text("subject", &letter.subject);
    if let Some(issue) = About::of(&letter.subject).issue() {
        lines.text("issue", &issue.to_string());
    }
    let (sequence, attempts) = (letter.sequence, letter.attempts);
    lines.value("sequence", json!(sequence), &thousands(sequence));
    lines.value("attempts", json!(attempts), &thousands(attempts));
    if let Some(at) = letter.rejected_at.as_ref().and_then(message::time_of) {
        lines.text("rejected", &time_of(at));
    }
    if let Some(refusal) = &letter.refusal {
        lines.text("index", &refusal.index);
        lines.text("document", &refusal.document_id);
        lines.text("error", &refusal.error_type);
        lines.text("field", &refusal.field);
    }
    headers(lines, &letter.headers);
    payload(lines, letter);
}

fn headers(lines: &mut Lines, headers: &[v1::Header]) {
    let pairs: Vec<_> = headers
        .iter()
        .map(|one| [line(&one.name, 100), line(&one.value, WHOLE)])
        .collect();
    lines.json.insert("headers".to_owned(), json!(pairs));
    for [name, value] in &pairs {
        lines.say("header", &format!("{name}: {value}"));
    }
}

fn payload(lines: &mut Lines, letter: &v1::DeadLetter) {
    let sha256 = hex(&letter.payload_sha256);
    let size = counted(letter.payload_size, "byte");
    let kept = if letter.payload.is_empty() { "not kept" } else { "kept" };
    lines.value(
        "payload",
        json!({ "size": letter.payload_size, "sha256": sha256, "hex": hex(&letter.payload) }),
        &format!("{size}, {kept}; sha256 {sha256}"),
    );
    if !letter.payload.is_empty() {
        lines.text("message", &decoded(letter));
    }
}

/// A kept message as its stream reads it. It holds no content.
fn decoded(letter: &v1::DeadLetter) -> String {
    let payload = &*letter.payload;
    let said = match letter.stream.as_str() {
        topology::DOWNLOADS => v1::DownloadRequested::decode(payload)
            .ok()
            .map(|request| asked(request.cause)),
        topology::INDEXING => v1::IndexRequested::decode(payload)
            .ok()
            .map(|request| asked(request.cause)),
        topology::ISSUES => v1::IssueEvent::decode(payload).ok().map(event),
        topology::TASKS => v1::TaskRequested::decode(payload).ok().map(|request| task(&request)),
        _ => None,
    };
    said.unwrap_or_else(|| "this version cannot read it".to_owned())
}

/// Why, when, by which webhook.
fn asked(cause: Option<v1::Cause>) -> String {
    let cause = cause.unwrap_or_default();
    let reason = cause
        .reason()
        .as_str_name()
        .trim_start_matches("REASON_")
        .to_lowercase();
    let at = cause.first_requested_at.as_ref().and_then(message::time_of);
    let delivery = cause
        .last_delivery
        .map(|delivery| format!(", delivery {}", delivery.delivery_id));
    format!(
        "{reason} request{}{}",
        at.map(when).unwrap_or_default(),
        delivery.unwrap_or_default()
    )
}

fn event(event: v1::IssueEvent) -> String {
    let what = match event.change {
        Some(Change::Downloaded(_)) => "downloaded",
        Some(Change::Deleted(_)) => "deleted",
        Some(Change::Forgotten(_)) => "forgotten",
        None => "a change that this version does not know",
    };
    format!("revision {}: {what}; {}", event.revision, asked(event.cause))
}

fn task(request: &v1::TaskRequested) -> String {
    let at = request.requested_at.as_ref().and_then(message::time_of);
    let run = request
        .backfill
        .as_ref()
        .map(|backfill| format!(", backfill {}", backfill.run));
    format!(
        "requested{}{}",
        at.map(when).unwrap_or_default(),
        run.unwrap_or_default()
    )
}

fn when(at: OffsetDateTime) -> String {
    format!(" of {}", time_of(at))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The trace of the message that was put aside, else the letter's own.
fn trace_of(stored: &StoredLetter) -> Option<String> {
    let headers = stored.letter.iter().flat_map(|letter| &letter.headers);
    let own = headers
        .filter(|header| header.name == "traceparent")
        .map(|header| header.value.as_str());
    let parent = own
        .chain(stored.headers.get("traceparent").map(async_nats::HeaderValue::as_str))
        .next()?;
    parent.split('-').nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::tests::{garbage, letter, letter_from};
    use super::*;
    use crate::cli::Output;

    const NOW: OffsetDateTime = datetime!(2026-11-21 15:00 UTC);

    #[test]
    fn everything_about_a_letter_is_shown() {
        let shown = report(&letter(17), NOW);
        insta::assert_snapshot!(shown.render(Output::Human), @r#"
        letter 17 of 2026-11-21T12:00:00Z, 3 h ago
          service     indexer
          kind        document
          reason      Elasticsearch refuses document webcompat/web-bugs/7/1 of bugstream-timelines-public-000001: document_parsing_exception, field "body"
          stream      ISSUES
          subject     issue.webcompat.web-bugs.7
          issue       webcompat/web-bugs#7
          sequence    1,234
          attempts    3
          index       bugstream-timelines-public-000001
          document    webcompat/web-bugs/7/1
          error       document_parsing_exception
          field       body
          header      traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01
          payload     212 bytes, not kept; sha256 abababababababababababababababababababababababababababababababab
          trace       0123456789abcdef0123456789abcdef
          retry       asks for the indexing of webcompat/web-bugs#7
        "#);
        insta::assert_snapshot!(shown.render(Output::Json), @r#"{"age_s":10800,"at":"2026-11-21T12:00:00Z","attempts":3,"document":"webcompat/web-bugs/7/1","error":"document_parsing_exception","field":"body","headers":[["traceparent","00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"]],"id":17,"index":"bugstream-timelines-public-000001","issue":"webcompat/web-bugs#7","kind":"document","payload":{"hex":"","sha256":"abababababababababababababababababababababababababababababababab","size":212},"reason":"Elasticsearch refuses document webcompat/web-bugs/7/1 of bugstream-timelines-public-000001: document_parsing_exception, field \"body\"","retry":"asks for the indexing of webcompat/web-bugs#7","sequence":1234,"service":"indexer","stream":"ISSUES","subject":"issue.webcompat.web-bugs.7","trace":"0123456789abcdef0123456789abcdef"}"#);
    }

    #[test]
    fn a_request_is_kept_and_what_is_none_can_only_go() {
        let issue = "a/b".parse::<bugstream_proto::RepoName>().unwrap().issue(7).unwrap();
        let request = v1::DownloadRequested::new(&issue, v1::Cause::new(v1::Reason::Webhook, NOW)).encode_to_vec();
        let kept = report(&letter_from("DOWNLOADS", "download.a.b.7", &request), NOW).render(Output::Human);
        insta::assert_snapshot!(kept, @r#"
        letter 17 of 2026-11-21T12:00:00Z, 3 h ago
          service     indexer
          kind        payload
          reason      the payload is not one
          stream      DOWNLOADS
          subject     download.a.b.7
          issue       a/b#7
          sequence    1,234
          attempts    3
          payload     22 bytes, kept; sha256 abababababababababababababababababababababababababababababababab
          message     webhook request of 2026-11-21T15:00:00Z
          retry       asks for a download of a/b#7
        "#);
        insta::assert_snapshot!(report(&garbage(18), NOW).render(Output::Human), @r#"
        letter 18 of 2026-11-21T12:00:00Z, 3 h ago
          service     someone
          kind        no letter
          subject     dead.someone
          size        100 bytes
          retry       not possible: it is no letter; what names nothing can only go: queue-cli dead-letters purge ID
        "#);
    }
}
