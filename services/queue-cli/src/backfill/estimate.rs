//! `backfill --dry-run`: requests and hours, and which of the numbers are measured and which assumed.
//!
//! It asks GitHub once, for the newest issue; the answer's headers tell the quota too. Nothing is begun.

use bugstream_kit::log::Log;
use bugstream_proto::message::Change;
use bugstream_proto::{IssueId, RepoName};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::cost::{self, Sample};
use crate::credential::Credential;
use crate::deps::Deps;
use crate::report::{Report, counted, hours, thousands};

/// Issues of the log whose timelines stand for all.
const SAMPLED: usize = 200;
/// Of those, read at once.
const AT_ONCE: usize = 32;

/// What a backfill would take.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Estimate {
    pub(super) repository: RepoName,
    /// The newest number: no repository has more issues.
    pub(super) newest: u64,
    /// Whether a date or a state selects some of them.
    pub(super) selected: bool,
    /// From the log; `None` where it knows no issue yet.
    pub(super) sample: Option<Sample>,
    pub(super) credentials: Vec<Credential>,
    /// Percent of every hour that live work keeps.
    pub(super) reserve: u64,
}

impl Estimate {
    pub(super) fn report(&self) -> Report {
        let sample = self.sample.unwrap_or(Sample::ASSUMED);
        let requests = cost::requests(self.newest, sample);
        let quotas: Vec<_> = self.credentials.iter().filter_map(Credential::supply).collect();
        let time = cost::duration(requests, &quotas, self.reserve);
        let takes = time.map_or_else(
            || "; no credential has quota for it".to_owned(),
            |time| format!(" and {}", hours(time)),
        );
        let mut lines = vec![format!(
            "a backfill of {} takes at most {}{takes}",
            self.repository,
            counted(requests, "request")
        )];
        lines.extend(self.lines(sample));
        let json = json!({
            "repository": self.repository.to_string(),
            "requests": requests,
            "seconds": time.map(|time| time.as_secs()),
            "issues": { "at_most": self.newest, "from": "measured", "selected": self.selected },
            "timeline_pages": { "issues": sample.issues, "pages": sample.pages, "from": self.from() },
            "reserve_percent": self.reserve,
            "credentials": self.credentials.iter().map(Credential::json).collect::<Vec<_>>(),
        });
        Report::new(lines.join("\n"), json)
    }

    fn from(&self) -> &'static str {
        if self.sample.is_some() { "measured" } else { "assumed" }
    }

    fn lines(&self, sample: Sample) -> Vec<String> {
        let line = |name: &str, text: &str, from: &str| format!("  {name:<11}{text:<54}  {from}");
        let fewer = if self.selected {
            "; --since and --state select fewer"
        } else {
            ""
        };
        let mut lines = vec![
            line(
                "issues",
                &format!("{} at most", thousands(self.newest)),
                &format!("measured: the newest number{fewer}"),
            ),
            line(
                "list",
                &counted(cost::list(self.newest), "request"),
                "computed: 100 issues each",
            ),
            line(
                "timelines",
                &counted(cost::timelines(self.newest, sample), "request"),
                &self.sampled(sample),
            ),
        ];
        lines.extend(
            self.credentials
                .iter()
                .map(|one| line("quota", &one.text(), one.source())),
        );
        lines.push(line(
            "live work",
            &format!("keeps {} % of every hour", self.reserve),
            "configured: [github] reserve_percent",
        ));
        lines
    }

    fn sampled(&self, sample: Sample) -> String {
        if self.sample.is_none() {
            return "assumed: no issue has more than 100 events".to_owned();
        }
        let hundredths = sample.pages * 100 / sample.issues;
        let pages = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        format!(
            "measured: {pages} pages each in {} of the log",
            counted(sample.issues, "issue")
        )
    }
}

/// What the log knows of the length of timelines; `None` if it knows nothing or cannot be asked.
pub(super) async fn sample(repository: &RepoName, deps: &Deps) -> Option<Sample> {
    let broker = deps.broker().await.ok()?;
    let log = Log::new(broker.jetstream.clone(), deps.context().clock.clone());
    let known = log.known(repository).await.ok()?;
    let every = known.len().div_ceil(SAMPLED).max(1);
    let read = known.into_iter().step_by(every).map(|issue| events(&log, issue));
    let found: Vec<_> = stream::iter(read).buffer_unordered(AT_ONCE).collect().await;
    Sample::of(found.into_iter().flatten())
}

async fn events(log: &Log, issue: IssueId) -> Option<u64> {
    match log.newest(&issue).await.ok()??.event.change {
        Change::Downloaded(downloaded) => Some(downloaded.timeline_events.into()),
        Change::Deleted(_) | Change::Forgotten => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Output;
    use crate::cost::Quota;
    use crate::credential::Known;

    fn token(quota: Known) -> Credential {
        Credential {
            label: "token-1a2b3c4d".to_owned(),
            quota,
            closed: None,
            set_aside: None,
        }
    }

    fn estimate() -> Estimate {
        Estimate {
            repository: "webcompat/web-bugs".parse().expect("a repository"),
            newest: 198_412,
            selected: false,
            sample: None,
            credentials: vec![token(Known::Measured(Quota {
                limit: 5_000,
                remaining: 4_120,
                resets_in_s: 1_320,
            }))],
            reserve: 20,
        }
    }

    #[test]
    fn it_says_what_is_measured_and_what_assumed() {
        insta::assert_snapshot!(estimate().report().render(Output::Human), @r#"
        a backfill of webcompat/web-bugs takes at most 200,397 requests and 49.4 h
          issues     198,412 at most                                         measured: the newest number
          list       1,985 requests                                          computed: 100 issues each
          timelines  198,412 requests                                        assumed: no issue has more than 100 events
          quota      token-1a2b3c4d: 4,120 of 5,000 left, resets in 22 min   measured
          live work  keeps 20 % of every hour                                configured: [github] reserve_percent
        "#);
        insta::assert_snapshot!(estimate().report().render(Output::Json), @r#"{"credentials":[{"closed_s":null,"credential":"token-1a2b3c4d","limit":5000,"remaining":4120,"resets_in_s":1320,"set_aside":null}],"issues":{"at_most":198412,"from":"measured","selected":false},"repository":"webcompat/web-bugs","requests":200397,"reserve_percent":20,"seconds":177827,"timeline_pages":{"from":"assumed","issues":1,"pages":1}}"#);
    }

    #[test]
    fn what_the_log_knows_is_no_assumption() {
        let sample = Sample::of((0..180).map(|_| 20).chain((0..20).map(|_| 250)));
        let estimate = Estimate {
            sample,
            selected: true,
            credentials: vec![token(Known::Nothing)],
            ..estimate()
        };
        insta::assert_snapshot!(estimate.report().render(Output::Human), @r#"
        a backfill of webcompat/web-bugs takes at most 240,080 requests and 60.1 h
          issues     198,412 at most                                         measured: the newest number; --since and --state select fewer
          list       1,985 requests                                          computed: 100 issues each
          timelines  238,095 requests                                        measured: 1.20 pages each in 200 issues of the log
          quota      token-1a2b3c4d: not used yet                            assumed: GitHub's usual limit
          live work  keeps 20 % of every hour                                configured: [github] reserve_percent
        "#);
    }

    #[test]
    fn without_a_credential_that_works_there_are_no_hours() {
        let refused = Credential {
            set_aside: Some("401".to_owned()),
            ..token(Known::Nothing)
        };
        let estimate = Estimate {
            credentials: vec![refused],
            ..estimate()
        };
        insta::assert_snapshot!(estimate.report().render(Output::Human), @r#"
        a backfill of webcompat/web-bugs takes at most 200,397 requests; no credential has quota for it
          issues     198,412 at most                                         measured: the newest number
          list       1,985 requests                                          computed: 100 issues each
          timelines  198,412 requests                                        assumed: no issue has more than 100 events
          quota      token-1a2b3c4d: set aside (401)                         measured: GitHub does not accept it
          live work  keeps 20 % of every hour                                configured: [github] reserve_percent
        "#);
    }
}
