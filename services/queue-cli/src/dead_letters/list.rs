//! `dead-letters list`: the newest letters as a table, all of them counted, and how near the stream's bounds are.

use std::collections::{BTreeMap, VecDeque};

use bugstream_kit::dead_letter::{Held, StoredLetter, StoredLetters};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::cli::List;
use super::subject::About;
use super::which::{Selection, away};
use super::words::{WHOLE, line};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{Report, counted, since, size, span, thousands, time_of};

/// How much of a reason a line of the table has.
const REASON: usize = 160;
/// What the table says of a message that is no letter, in place of a kind.
pub(super) const NO_LETTER: &str = "no letter";
/// Kinds that are counted apart: anybody may write a letter of a new kind.
const KINDS: usize = 50;

pub(super) async fn run(
    list: &List,
    letters: &StoredLetters,
    deps: &Deps,
    progress: &mut Progress<'_>,
) -> Result<Report, Failure> {
    let held = letters.held().await.map_err(|error| away(&error))?;
    let selection = Selection::new(&list.which, deps);
    progress.doing("read");
    let mut found = Found::new(list.limit);
    let mut read = selection.read(letters, held.last);
    while let Some(letter) = read.try_next().await? {
        found.add(letter);
        progress.step(found.letters);
    }
    Ok(found.report(&held, deps.context().clock.now()))
}

/// What is left of a letter in the table.
#[derive(Debug)]
struct Row {
    id: u64,
    stored_at: OffsetDateTime,
    service: String,
    stream: String,
    subject: String,
    about: About,
    kind: String,
    attempts: u64,
    reason: String,
}

impl Row {
    fn of(letter: StoredLetter) -> Self {
        let (id, stored_at, service) = (letter.sequence, letter.stored_at, line(letter.service(), 60));
        let own = letter.letter.unwrap_or_else(|| bugstream_proto::v1::DeadLetter {
            subject: letter.subject,
            kind: NO_LETTER.to_owned(),
            reason: format!(
                "{} that are no DeadLetter message (protobuf)",
                counted(letter.size as u64, "byte")
            ),
            ..Default::default()
        });
        Self {
            id,
            stored_at,
            service,
            about: About::of(&own.subject),
            stream: line(&own.stream, 60),
            subject: line(&own.subject, WHOLE),
            kind: line(&own.kind, 20),
            attempts: own.attempts,
            reason: line(&own.reason, WHOLE),
        }
    }

    fn cells(&self, now: OffsetDateTime) -> [String; 7] {
        [
            self.id.to_string(),
            span(since(self.stored_at, now)),
            self.service.clone(),
            self.kind.clone(),
            self.about.to_string(),
            thousands(self.attempts),
            line(&self.reason, REASON),
        ]
    }

    fn json(&self, now: OffsetDateTime) -> Value {
        json!({
            "id": self.id,
            "at": time_of(self.stored_at),
            "age_s": since(self.stored_at, now).as_secs(),
            "service": self.service,
            "kind": self.kind,
            "stream": self.stream,
            "subject": self.subject,
            "issue": self.about.issue().map(ToString::to_string),
            "attempts": self.attempts,
            "reason": self.reason,
        })
    }
}

/// All that was found, of which the newest are shown.
#[derive(Debug)]
struct Found {
    limit: usize,
    rows: VecDeque<Row>,
    letters: u64,
    kinds: BTreeMap<String, u64>,
}

impl Found {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            rows: VecDeque::new(),
            letters: 0,
            kinds: BTreeMap::new(),
        }
    }

    fn add(&mut self, letter: StoredLetter) {
        if self.rows.len() == self.limit {
            self.rows.pop_front();
        }
        let row = Row::of(letter);
        let is_known = self.kinds.contains_key(&row.kind) || self.kinds.len() < KINDS;
        let kind = if is_known {
            row.kind.clone()
        } else {
            "others".to_owned()
        };
        *self.kinds.entry(kind).or_default() += 1;
        self.letters += 1;
        self.rows.push_back(row);
    }

    fn report(&self, held: &Held, now: OffsetDateTime) -> Report {
        let warnings = warnings(held, now);
        let mut lines = self.table(now);
        lines.push(self.totals());
        lines.extend(warnings.iter().map(|why| format!("  ! {why}")));
        if self.letters > 0 {
            lines.push("  queue-cli dead-letters show ID   everything about one".to_owned());
            lines.push("  queue-cli dead-letters retry     once the cause is mended".to_owned());
        }
        let json = json!({
            "letters": self.rows.iter().map(|row| row.json(now)).collect::<Vec<_>>(),
            "total": self.letters,
            "kinds": self.kinds,
            "warnings": warnings,
            "held": { "letters": held.letters, "bytes": held.bytes, "most_bytes": held.most_bytes },
        });
        Report::new(lines.join("\n"), json)
    }

    fn table(&self, now: OffsetDateTime) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let head = ["id", "age", "service", "kind", "about", "tries", "reason"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head)
            .chain(self.rows.iter().map(|row| row.cells(now)))
            .collect();
        let wide = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths = [0, 1, 2, 3, 4, 5].map(wide);
        let text = |[id, age, service, kind, about, tries, reason]: &[String; 7]| {
            let [a, b, c, d, e, f] = widths;
            format!("  {id:>a$}  {age:>b$}  {service:<c$}  {kind:<d$}  {about:<e$}  {tries:>f$}  {reason}")
        };
        rows.iter().map(text).collect()
    }

    fn totals(&self) -> String {
        if self.letters == 0 {
            return "no letters".to_owned();
        }
        let kinds: Vec<_> = self
            .kinds
            .iter()
            .map(|(kind, count)| format!("{kind} {}", thousands(*count)))
            .collect();
        let total = format!("{} · {}", counted(self.letters, "letter"), kinds.join(" · "));
        match self.letters - self.rows.len() as u64 {
            0 => total,
            older => format!("{total}; {} older than these not shown (--limit)", thousands(older)),
        }
    }
}

/// What is near its end, with what to do.
pub(crate) fn warnings(held: &Held, now: OffsetDateTime) -> Vec<String> {
    let mut warnings = Vec::new();
    if let (true, Some(most)) = (held.is_nearly_full(), held.most_bytes) {
        let (bytes, most) = (size(held.bytes), size(most));
        warnings.push(format!(
            "{bytes} of at most {most} are used: beyond that the oldest letters are lost; retry or purge some"
        ));
    }
    if let (true, Some(oldest), Some(longest)) = (held.is_nearly_over(now), held.oldest, held.longest) {
        let (age, longest) = (span(since(oldest, now)), span(longest));
        warnings.push(format!(
            "the oldest letter is from {age} ago: after {longest} a letter is lost"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::super::tests::{garbage, letter};
    use super::*;
    use crate::cli::Output;

    const NOW: OffsetDateTime = datetime!(2026-11-21 15:00 UTC);

    fn held(bytes: u64, oldest: OffsetDateTime) -> Held {
        Held {
            letters: 3,
            bytes,
            most_bytes: Some(1 << 30),
            oldest: Some(oldest),
            longest: Some(Duration::from_secs(90 * 86_400)),
            last: 18,
        }
    }

    fn found(limit: usize, letters: Vec<StoredLetter>) -> Found {
        let mut found = Found::new(limit);
        letters.into_iter().for_each(|letter| found.add(letter));
        found
    }

    #[test]
    fn the_newest_are_shown_and_all_are_counted() {
        let list = found(2, vec![letter(3), letter(17), garbage(18)]);
        let report = list.report(&held(5_000, NOW), NOW);
        insta::assert_snapshot!(report.render(Output::Human), @r#"
          id  age  service  kind       about                 tries  reason
          17  3 h  indexer  document   webcompat/web-bugs#7      3  Elasticsearch refuses document webcompat/web-bugs/7/1 of bugstream-timelines-public-000001: document_parsing_exception, field "body"
          18  3 h  someone  no letter  dead.someone              0  100 bytes that are no DeadLetter message (protobuf)
        3 letters · document 2 · no letter 1; 1 older than these not shown (--limit)
          queue-cli dead-letters show ID   everything about one
          queue-cli dead-letters retry     once the cause is mended
        "#);
        insta::assert_snapshot!(report.render(Output::Json), @r#"{"held":{"bytes":5000,"letters":3,"most_bytes":1073741824},"kinds":{"document":2,"no letter":1},"letters":[{"age_s":10800,"at":"2026-11-21T12:00:00Z","attempts":3,"id":17,"issue":"webcompat/web-bugs#7","kind":"document","reason":"Elasticsearch refuses document webcompat/web-bugs/7/1 of bugstream-timelines-public-000001: document_parsing_exception, field \"body\"","service":"indexer","stream":"ISSUES","subject":"issue.webcompat.web-bugs.7"},{"age_s":10800,"at":"2026-11-21T12:00:00Z","attempts":0,"id":18,"issue":null,"kind":"no letter","reason":"100 bytes that are no DeadLetter message (protobuf)","service":"someone","stream":"","subject":"dead.someone"}],"total":3,"warnings":[]}"#);
    }

    #[test]
    fn what_is_near_its_end_is_said() {
        let report = found(5, Vec::new()).report(&held(900_000_000, datetime!(2026-08-30 12:00 UTC)), NOW);
        insta::assert_snapshot!(report.render(Output::Human), @r#"
        no letters
          ! 900.0 MB of at most 1.0 GB are used: beyond that the oldest letters are lost; retry or purge some
          ! the oldest letter is from 83 days ago: after 90 days a letter is lost
        "#);
    }

    #[test]
    fn strange_kinds_cost_no_memory() {
        let letters = (0..1_000).map(|number| {
            let mut letter = letter(number);
            letter.letter.as_mut().expect("it is one").kind = format!("kind-{number}");
            letter
        });
        let found = found(1, letters.collect());
        assert_eq!(
            (found.letters, found.kinds.len(), found.rows.len()),
            (1_000, KINDS + 1, 1)
        );
    }
}
