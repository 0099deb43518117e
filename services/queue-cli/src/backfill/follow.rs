//! Shows how far a backfill is, until it is done or the person goes away.

use std::time::Duration;

use bugstream_kit::watermarks::{Backfill as Record, Phase};
use bugstream_proto::RepoName;
use serde_json::json;

use super::{Place, begin};
use crate::cost::{self, Quota};
use crate::credential::{self, Credential};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::{Report, counted, since, span, thousands};
use crate::status::downloader;

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(500);
/// Rows after which what they cost says what the rest will.
const ENOUGH: u64 = 100;

/// Follows. `before` is the name of the run that is not meant; `None` for the one that is under way.
pub(super) async fn follow(
    place: &Place,
    before: Option<String>,
    deps: &Deps,
    progress: &mut Progress<'_>,
) -> Result<Report, Failure> {
    let mut interrupt = Interrupt::listen()?;
    let mut first = true;
    loop {
        let record = place.record().await?;
        let begun = before.as_ref() != Some(&record.run);
        match record.phase {
            Phase::Done if begun => return Ok(done(&place.repository, &record)),
            Phase::Failed | Phase::Cancelled if begun => return Err(broken_off(&place.repository, &record)),
            _ => {}
        }
        let line = line(place, &record, begun, deps).await?;
        if std::mem::take(&mut first) {
            progress.show(&line);
        } else {
            progress.tell(&line);
        }
        tokio::select! {
            () = interrupt.comes() => return Ok(left_running(&place.repository, &record, begun)),
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn line(place: &Place, record: &Record, begun: bool, deps: &Deps) -> Result<String, Failure> {
    let works = downloader::leads(&place.broker).await?;
    if !begun {
        if works && !begin::lying(place).await? && !has_begun(place, record).await? {
            return Err(Failure::failed("the backfill was cancelled before it began"));
        }
        return Ok(waits(works).to_owned());
    }
    let credentials = credential::stored(&place.broker, deps).await?;
    let line = far(record, &credentials, deps.reserve_percent()?);
    Ok(if works {
        line
    } else {
        format!("{line} · {}", waits(works))
    })
}

/// Whether it began between the two looks.
async fn has_begun(place: &Place, record: &Record) -> Result<bool, Failure> {
    Ok(place.record().await?.run != record.run)
}

fn waits(works: bool) -> &'static str {
    if works {
        "the downloader is about to begin"
    } else {
        "no downloader works: start one, and the backfill goes on by itself"
    }
}

/// `41,000 of 198,412 issues · 12.3 a second · 3 h 20 min left · 4,120 of 5,000 requests left this hour · 41,410 spent`
fn far(record: &Record, credentials: &[Credential], reserve: u64) -> String {
    let quotas: Vec<_> = credentials.iter().filter_map(Credential::supply).collect();
    let mut said = vec![match record.estimated_rows.max(record.rows) {
        0 => "listing".to_owned(),
        _ if record.estimated_rows == 0 => counted(record.rows, "issue"),
        total => format!("{} of {} issues", thousands(record.rows), thousands(total)),
    }];
    said.extend(record.rate().map(|rate| format!("{rate:.1} a second")));
    said.extend(left(record, &quotas, reserve).map(|time| format!("{} left", span(time))));
    said.extend(credentials.iter().map(Credential::text));
    said.push(format!("{} spent", counted(record.spent, "request")));
    said.extend(record.why.as_ref().map(|why| format!("waits: {why}")));
    said.join(" · ")
}

/// The longer of two guesses: that it goes on as fast as until now, and that the quota is what holds it up.
fn left(record: &Record, quotas: &[Quota], reserve: u64) -> Option<Duration> {
    let rows = record.estimated_rows.checked_sub(record.rows)?;
    if record.rows == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a guess in minutes")]
    let as_until_now = record.rate().map(|rate| Duration::from_secs_f64(rows as f64 / rate));
    let each = if record.rows < ENOUGH {
        record.rows
    } else {
        record.spent
    };
    let requests = (rows * each).div_ceil(record.rows);
    as_until_now.max(cost::duration(requests, quotas, reserve))
}

fn done(repository: &RepoName, record: &Record) -> Report {
    let took = took(record);
    let later = match record.queued {
        0 => String::new(),
        queued => format!(
            "\n  {} could not be fetched at once and went to the queue",
            counted(queued, "issue")
        ),
    };
    let text = format!(
        "mirrored {} of {repository} in {} with {}{later}",
        counted(record.rows, "issue"),
        span(took),
        counted(record.spent, "request"),
    );
    Report::new(text, json(repository, record, "done"))
}

fn left_running(repository: &RepoName, record: &Record, begun: bool) -> Report {
    let far = if begun { record.rows } else { 0 };
    let text = format!(
        "the backfill of {repository} goes on without you, at {}\n  queue-cli backfill follows it again; queue-cli backfill \
         --cancel ends it",
        counted(far, "issue")
    );
    let phase = if begun { "running" } else { "asked" };
    Report::new(text, json(repository, record, phase)).that_differs()
}

fn broken_off(repository: &RepoName, record: &Record) -> Failure {
    let rows = counted(record.rows, "issue");
    if record.phase == Phase::Cancelled {
        return Failure::failed(format!("the backfill of {repository} was cancelled after {rows}"));
    }
    let why = record.why.as_deref().unwrap_or("no reason was given");
    Failure::failed(format!("the backfill of {repository} failed after {rows}: {why}"))
        .with_fix("queue-cli backfill begins it again; what did not change costs nothing with a token")
}

fn took(record: &Record) -> Duration {
    let times = record.began.zip(record.ended.or(record.last_run));
    times.map(|(began, ended)| since(began, ended)).unwrap_or_default()
}

fn json(repository: &RepoName, record: &Record, phase: &str) -> serde_json::Value {
    json!({
        "repository": repository.to_string(),
        "phase": phase,
        "issues": record.rows,
        "queued": record.queued,
        "requests": record.spent,
        "seconds": took(record).as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::*;
    use crate::cli::Output;
    use crate::credential::Known;

    const BEGAN: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn record(rows: u64, minutes: i64) -> Record {
        Record {
            phase: Phase::Running,
            rows,
            estimated_rows: 198_412,
            spent: rows + rows / 100,
            began: Some(BEGAN),
            last_run: Some(BEGAN + time::Duration::minutes(minutes)),
            ..Record::default()
        }
    }

    fn token(remaining: u64) -> Credential {
        Credential {
            label: "token-1a2b3c4d".to_owned(),
            quota: Known::Measured(Quota {
                limit: 5_000,
                remaining,
                resets_in_s: 1_320,
            }),
            closed: None,
            set_aside: None,
        }
    }

    #[test]
    fn the_line_says_how_far_how_fast_how_long_and_what_is_left() {
        let token = [token(1_120)];
        insta::assert_snapshot!(far(&Record::default(), &[], 20), @r#"listing · 0 requests spent"#);
        insta::assert_snapshot!(far(&record(2_900, 5), &token, 20), @r#"2,900 of 198,412 issues · 9.7 a second · 2 days left · token-1a2b3c4d: 1,120 of 5,000 left, resets in 22 min · 2,929 requests spent"#);
        let selected = Record {
            estimated_rows: 0,
            why: Some("GitHub asks to wait (secondary limit)".to_owned()),
            ..record(50, 1)
        };
        insta::assert_snapshot!(far(&selected, &token, 20), @r#"50 issues · 0.8 a second · token-1a2b3c4d: 1,120 of 5,000 left, resets in 22 min · 50 requests spent · waits: GitHub asks to wait (secondary limit)"#);
    }

    #[test]
    fn the_quota_decides_where_it_is_what_holds_it_up() {
        let quotas = [Quota::full(5_000)];
        let hours = |record: &Record| left(record, &quotas, 20).map(|time| time.as_secs() / 3_600);
        assert_eq!(hours(&record(0, 0)), None);
        assert_eq!(
            hours(&record(2_000, 2)),
            Some(49),
            "fast at first, as long as the hour's quota lasts"
        );
        assert_eq!(hours(&record(2_000, 120)), Some(196), "slower than the quota allows");
    }

    #[test]
    fn the_end_says_what_it_took() {
        let repository: RepoName = "webcompat/web-bugs".parse().expect("a repository");
        let whole = Record {
            queued: 3,
            ..record(198_412, 3_000)
        };
        insta::assert_snapshot!(done(&repository, &whole).render(Output::Human), @r#"
        mirrored 198,412 issues of webcompat/web-bugs in 2 days with 200,396 requests
          3 issues could not be fetched at once and went to the queue
        "#);
        insta::assert_snapshot!(done(&repository, &whole).render(Output::Json), @r#"{"issues":198412,"phase":"done","queued":3,"repository":"webcompat/web-bugs","requests":200396,"seconds":180000}"#);
        let report = left_running(&repository, &record(2_900, 5), true);
        insta::assert_snapshot!(report.render(Output::Human), @r#"
        the backfill of webcompat/web-bugs goes on without you, at 2,900 issues
          queue-cli backfill follows it again; queue-cli backfill --cancel ends it
        "#);
        assert_eq!(report.exit_code(), 1, "it is not done");
        let failed = Record {
            phase: Phase::Failed,
            why: Some("GitHub shows no issues (404)".to_owned()),
            ..record(10, 1)
        };
        insta::assert_snapshot!(broken_off(&repository, &failed), @r#"
        error: the backfill of webcompat/web-bugs failed after 10 issues: GitHub shows no issues (404)
          queue-cli backfill begins it again; what did not change costs nothing with a token
        "#);
    }
}
