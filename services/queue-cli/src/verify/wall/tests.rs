use bugstream_kit::chance::Chance;
use serde_json::json;

use super::*;

fn repository() -> Repository {
    let name = |text: &str| text.parse().expect("a repository");
    Repository {
        name: name("o/r"),
        private: Some(name("o/r-private")),
        public: vec![name("o/known")],
        credentials: None,
    }
}

fn source(repo: &str) -> Value {
    json!({"event": "cross-referenced", "source": {"issue": {"number": 1, "title": "t", "repository_url": format!("https://api.github.com/repos/{repo}")}}})
}

#[test]
fn events_of_a_public_issue_are_judged_by_what_they_name() {
    let table = [
        (json!({"event": "labeled", "label": {"name": "o/r-private"}}), false),
        (
            json!({"event": "commented", "body": "see https://github.com/o/r-private/issues/1"}),
            false,
        ),
        (
            json!({"event": "commented", "html_url": "https://github.com/o/r/issues/1"}),
            false,
        ),
        (
            json!({"event": "commented", "performed_via_github_app": {"html_url": "https://github.com/apps/bot"}}),
            false,
        ),
        (source("o/r"), false),
        (source("o/KNOWN"), false),
        (source("o/r-private"), true),
        (source("o/unknown"), true),
        (json!({"event": "cross-referenced", "source": {"type": "issue"}}), true),
        (json!({"event": "transferred"}), true),
        (json!({"event": "added_to_project_v2"}), true),
        (
            json!({"event": "closed", "commit_url": "https://api.github.com/repos/o/fork/commits/1"}),
            true,
        ),
        (
            json!({"event": "x", "repository": {"full_name": "o/fork", "private": false}}),
            false,
        ),
        (
            json!({"event": "x", "repository": {"full_name": "o/fork", "private": true}}),
            true,
        ),
        (
            json!({"event": "x", "repository": {"full_name": "o/r-private", "private": false}}),
            true,
        ),
        (json!({"event": "x", "milestone": {"number": 1}}), true),
    ];
    let repository = repository();
    for (event, private) in table {
        let judged = Wall(&repository).judge(&json!({"title": "t"}), std::slice::from_ref(&event));
        assert_eq!((judged.private, judged.events), (false, vec![private]), "{event}");
    }
}

#[test]
fn a_moderated_issue_takes_the_first_reference_of_the_partner() {
    let repository = repository();
    let judge = |issue: Value, timeline: &[Value]| Wall(&repository).judge(&issue, timeline).private;
    let timeline = [source("o/r"), source("o/r-private")];
    assert!(judge(json!({"title": "Issue closed."}), &timeline));
    assert!(!judge(json!({"title": "Issue closed"}), &timeline));
    assert!(!judge(json!({"title": "Issue closed."}), &timeline[..1]));
    assert!(judge(json!({"title": "t", PRIVATE_FLAG: true}), &[]));
    assert!(judge(
        json!({"title": "t", "repository": {"full_name": "o/r", "private": true}}),
        &[]
    ));
    assert!(judge(
        json!({"title": "t", "url": "https://api.github.com/repos/o/r-private/issues/1"}),
        &[]
    ));
}

#[test]
fn members_that_are_not_about_the_issue_itself_may_name_only_what_is_public() {
    let repository = repository();
    let wall = Wall(&repository);
    let old = json!("https://api.github.com/repos/o/old-name/issues/1");
    assert!(wall.shows("events_url", &old) && wall.shows("type", &old) && wall.shows("issue_field_values", &old));
    assert!(!wall.shows("duplicate_url", &old) && !wall.shows("parent_issue_url", &old));
    let known = json!({"number": 2, "url": "https://api.github.com/repos/o/known/issues/2"});
    assert!(wall.shows("duplicate_of", &known) && !wall.shows("duplicate_of", &json!({"number": 2})));
    assert!(!wall.shows("projects_v2", &json!([])) && wall.shows("word", &json!("o/r-private")));
}

#[test]
fn a_leak_is_the_partners_name_outside_of_written_text() {
    let repository = repository();
    let leak = |document: Value| Wall(&repository).leak(&document);
    assert_eq!(
        leak(json!({"a": [{"url": "https://x/o/R-private/1"}]})).as_deref(),
        Some("/a/0/url")
    );
    for fine in [
        json!({"body": "o/r-private"}),
        json!({"url": "https://x/o/r-private2"}),
        json!({"url": "https://x/oo/r"}),
    ] {
        assert_eq!(leak(fine.clone()), None, "{fine}");
    }
}

/// Chance that is the same in every run.
struct Dice(Chance);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.0.bits() % sides as u64).expect("below a usize")
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn text(&mut self) -> String {
        let host = self.one(&[
            "https://api.github.com/repos/",
            "https://github.com/",
            "http://ghe/api/v3/repos/",
            "",
            "x",
        ]);
        let name = self.one(&[
            "o/r",
            "O/R-private",
            "o/known",
            "o/other",
            "apps/bot",
            "users/o",
            "o",
            "orgs/o/teams",
            "",
        ]);
        format!(
            "{host}{name}{}",
            self.one(&["", "/issues/1", "{/sha}", "?q=o/r-private", "#x"])
        )
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 7 } else { 12 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(9)),
            3..7 => json!(self.text()),
            7 => Value::Array((0..self.below(3)).map(|_| self.value(depth - 1)).collect()),
            _ => self.object(depth - 1),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let names = [
            "url",
            "html_url",
            "repository_url",
            "repository",
            "repo",
            "source_repo",
            "full_name",
            "private",
            "visibility",
            "number",
            "body",
            "title",
            "issue",
            "source",
            "sub_issue",
            "parent_issue",
            "parent_issue_url",
            "blocked_by",
            "blocking",
            "project",
            "project_card",
            "href",
            "name",
            "milestone",
            "user",
            "duplicate_of",
            "labels_url",
            "canonical_url",
            PRIVATE_FLAG,
        ];
        let members = (0..self.below(5)).map(|_| {
            let name = self.one(&names);
            let value = match name {
                "visibility" => json!(self.one(&["public", "private"])),
                "full_name" => json!(self.one(&["o/r", "o/R-private", "o/other", "nonsense"])),
                "private" => json!(self.below(2) == 0),
                _ => self.value(depth),
            };
            (name.to_owned(), value)
        });
        Value::Object(members.collect())
    }

    fn event(&mut self) -> Value {
        let kinds = [
            "labeled",
            "cross-referenced",
            "sub_issue_added",
            "parent_issue_added",
            "blocked_by_added",
            "blocking_removed",
            "transferred",
            "added_to_project_v2",
            "converted_note_to_issue",
            "commented",
            "something-new",
        ];
        let mut event = self.object(3);
        event["event"] = json!(self.one(&kinds));
        event
    }

    fn issue(&mut self) -> Value {
        let mut issue = self.object(2);
        issue["title"] = json!(self.one(&["t", "In the moderation queue.", "Issue closed."]));
        issue
    }
}

/// Two statements of the same rules agree. Where they do not, one of them is wrong, and this shows which rule.
#[test]
fn the_archive_judges_the_same() {
    let repository = repository();
    let (wall, rules) = (Wall(&repository), bugstream_archive::Rules::from(&repository));
    let mut dice = Dice(Chance::seeded(0x2545_F491_4F6C_DD1D));
    let (mut private, mut events) = ([0, 0], [0, 0]);
    for _ in 0..6_000 {
        let (issue, timeline) = (dice.issue(), vec![dice.event(), dice.event()]);
        let (raw, elements) = (issue.to_string(), json!(timeline).to_string());
        let archived = bugstream_archive::Archived::parse(raw.as_bytes(), elements.as_bytes()).expect("well-formed");
        let (theirs, ours) = (archived.classify(&rules), wall.judge(&issue, &timeline));
        let is_private = |side: &bugstream_archive::Side| *side == bugstream_archive::Side::Private;
        assert_eq!(ours.private, is_private(&theirs.issue()), "{issue} {elements}");
        assert_eq!(
            ours.events,
            theirs.timeline().iter().map(is_private).collect::<Vec<_>>(),
            "{issue} {elements}"
        );
        let merged: Value = serde_json::from_slice(&archived.merged_issue(&theirs)).expect("JSON");
        for (name, value) in issue
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != PRIVATE_FLAG)
        {
            assert_eq!(
                ours.private || wall.shows(name, value),
                merged.get(name).is_some(),
                "{name}: {issue}"
            );
        }
        private[usize::from(ours.private)] += 1;
        events[usize::from(ours.events[0])] += usize::from(!ours.private);
    }
    assert!(
        private.iter().chain(&events).all(|count| *count > 300),
        "{private:?} {events:?}"
    );
}
