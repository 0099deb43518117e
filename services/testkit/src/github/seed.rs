//! The seed: an invented bug tracker that a person would believe, the same bytes for the same seed number everywhere.
//!
//! Distribution over the issues (see [`KINDS`] and [`SIZES`]): about 12 % pull requests, 5 % waiting in the moderation
//! queue, 3 % that left it (public, but the private partner still shows in their timeline), 8 % tasks, the rest reports; about half closed. Timeline sizes: 22 % up to 3 events, 43 % 4 to 8, 22 % 9 to 20,
//! 9 % 21 to 60, 3 % 101 to 180 and 1 % 201 to 260 (three pages): a median of about 6 and a mean of about 15 events.
//! Issues were opened from 2024-01-03 on, about one every 17 hours; nothing is later than the end of their timeline.

use std::ops::RangeInclusive;

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, macros::datetime};

use super::dice::Dice;
use super::history::{By, Change, Draft};
use super::shapes::{self, MODERATION_BODY, MODERATION_TITLE, RepoRef};
use super::words::{
    BROWSERS, COMMITS, LABELS, MEMBERS, MILESTONES, PEOPLE, PULLS, REMARKS, SECRETS, SITES, STEPS, SYMPTOMS, SYSTEMS,
    TASKS, TYPES,
};

/// When the tracker began.
const BEGIN: OffsetDateTime = datetime!(2024-01-03 08:00 UTC);

/// What an issue is: share in percent.
const KINDS: &[(u64, Kind)] = &[
    (12, Kind::Pull),
    (5, Kind::Private),
    (3, Kind::Accepted),
    (8, Kind::Task),
    (72, Kind::Report),
];

/// How many events a timeline has: share in percent, from, to.
const SIZES: &[(u64, u64, u64)] = &[
    (22, 0, 3),
    (43, 4, 8),
    (22, 9, 20),
    (9, 21, 60),
    (3, 101, 180),
    (1, 201, 260),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Report,
    Task,
    Pull,
    Private,
    Accepted,
}

impl Dice {
    fn person(&mut self) -> &'static str {
        self.pick::<&str>(PEOPLE)
    }

    fn member(&mut self) -> &'static str {
        self.pick::<&str>(&PEOPLE[..MEMBERS])
    }
}

/// An issue of the seed, and the issue of the private partner that carries its content where it is moderated.
pub(super) struct Seeded {
    pub(super) number: u64,
    pub(super) draft: Draft,
    pub(super) partner: Option<Draft>,
}

/// Issues of a tracker by their numbers. `private` is where moderated content lives; its issues have the same order.
pub(super) fn issues(
    repo: &RepoRef,
    private: &RepoRef,
    numbers: RangeInclusive<u64>,
    seed: u64,
    next_id: &mut u64,
) -> Vec<Seeded> {
    let mut made: Vec<Seeded> = Vec::new();
    let mut partners = 0;
    for number in numbers {
        let dice = Dice(seed.wrapping_mul(0x0001_0000_0001).wrapping_add(number));
        let mut author = Author {
            repo,
            private,
            dice,
            next_id,
            earlier: &made,
            at: BEGIN + Duration::hours(17) * (number as i32),
        };
        let seeded = author.write(number, partners + 1);
        partners += u64::from(seeded.partner.is_some());
        made.push(seeded);
    }
    made
}

/// Writes one issue: holds its dice and its clock.
struct Author<'a> {
    repo: &'a RepoRef,
    private: &'a RepoRef,
    dice: Dice,
    next_id: &'a mut u64,
    earlier: &'a [Seeded],
    at: OffsetDateTime,
}

impl<'a> Author<'a> {
    fn write(&mut self, number: u64, partner_number: u64) -> Seeded {
        self.at += Duration::seconds(self.dice.between(0, 50_000).cast_signed());
        let kind = self.kind(number);
        let reporter = self.dice.person();
        let (title, body) = self.content(kind);
        let partner = match kind {
            Kind::Private => Some(self.secret(partner_number, reporter)),
            Kind::Accepted => Some(self.partner(partner_number, &title, &body, reporter)),
            _ => None,
        };
        let mut draft = Draft {
            issue: shapes::issue(self.repo, number, &title, &body, reporter, &stamp(self.at)),
            timeline: Vec::new(),
        };
        if kind == Kind::Pull {
            shapes::make_pull_request(&mut draft.issue, self.repo, number);
        }
        if let Some(partner) = &partner {
            self.act(
                &mut draft,
                reporter,
                &Change::CrossReference(Box::new(nested(partner, self.private))),
            );
        }
        self.live(&mut draft, kind);
        let counts = [
            self.dice.between(0, 9) / 6,
            self.dice.between(0, 9) / 8,
            self.dice.between(0, 9) / 9,
        ];
        let url = draft.issue["url"].as_str().unwrap_or_default().to_owned();
        draft.issue.insert("reactions".into(), shapes::reactions(&url, counts));
        Seeded { number, draft, partner }
    }

    /// What it is. Number 42 is always a report: the documentation's examples edit it.
    fn kind(&mut self, number: u64) -> Kind {
        let thrown = self
            .share(KINDS.iter().map(|kind| kind.0))
            .map_or(Kind::Report, |i| KINDS[i].1);
        if number == 42 { Kind::Report } else { thrown }
    }

    /// The index of the share that a throw falls into.
    fn share(&mut self, shares: impl Iterator<Item = u64>) -> Option<usize> {
        let mut throw = self.dice.between(0, 99);
        for (i, share) in shares.enumerate() {
            if throw < share {
                return Some(i);
            }
            throw -= share;
        }
        None
    }

    fn content(&mut self, kind: Kind) -> (String, String) {
        match kind {
            Kind::Private => (MODERATION_TITLE.into(), MODERATION_BODY.into()),
            Kind::Task => (
                self.dice.pick(TASKS).to_string(),
                self.dice
                    .pick(REMARKS)
                    .replace("{site}", SITES[0])
                    .replace("{person}", PEOPLE[0]),
            ),
            Kind::Pull => (
                self.dice.pick(PULLS).replace("{site}", self.dice_site()),
                format!(
                    "Closes #{}.\n\n- [x] tested by hand\n- [ ] release note",
                    self.dice.between(1, 400)
                ),
            ),
            Kind::Report | Kind::Accepted => self.report(),
        }
    }

    fn dice_site(&self) -> &'static str {
        SITES[usize::try_from(self.dice.0 % SITES.len() as u64).expect("smaller than the table")]
    }

    fn report(&mut self) -> (String, String) {
        let site = *self.dice.pick(SITES);
        let (symptom, kind, story) = *self.dice.pick(SYMPTOMS);
        (format!("{site} - {symptom}"), self.form(site, kind, story))
    }

    /// The body that the tracker's report form writes.
    fn form(&mut self, site: &str, kind: &str, story: &str) -> String {
        let (browser, system, page) = (
            *self.dice.pick(BROWSERS),
            *self.dice.pick(SYSTEMS),
            self.dice.between(1, 9_999),
        );
        let steps: Vec<String> = (1..=self.dice.between(2, 5))
            .map(|i| format!("{i}. {}", self.dice.pick(STEPS)))
            .collect();
        let tested = if self.dice.chance(70) { "Yes" } else { "No" };
        format!(
            "<!-- @browser: {browser} -->\n<!-- @reported_with: form -->\n\n**URL**: https://{site}/page/{page}?lang=en\n\n\
             **Browser / Version**: {browser}\n**Operating System**: {system}\n**Tested Another Browser**: {tested}\n\n\
             **Problem type**: {kind}\n**Description**: {story}\n**Steps to Reproduce**:\n{}\n\n\
             _From the report form of the tracker_ ❤️",
            steps.join("\n")
        )
    }

    /// The issue of the private partner: what the reporter really wrote.
    fn secret(&mut self, number: u64, reporter: &str) -> Draft {
        let (title, text) = *self.dice.pick(SECRETS);
        let site = *self.dice.pick(SITES);
        let body = self.form(site, "Something else", &text.replace("{site}", site));
        let title = format!("{site} - {title}");
        self.partner(number, &title, &body, reporter)
    }

    fn partner(&self, number: u64, title: &str, body: &str, reporter: &str) -> Draft {
        Draft {
            issue: shapes::issue(self.private, number, title, body, reporter, &stamp(self.at)),
            timeline: Vec::new(),
        }
    }

    /// Lets people do things until the timeline is as long as the dice say, and perhaps close it.
    fn live(&mut self, draft: &mut Draft, kind: Kind) {
        let (_, from, to) = SIZES[self.share(SIZES.iter().map(|size| size.0)).unwrap_or(1)];
        let size = usize::try_from(self.dice.between(from, to)).expect("at most 260");
        let closes = self.dice.chance(50) && size > 0 && kind != Kind::Private;
        let room = size.saturating_sub(usize::from(closes));
        while draft.timeline.len() < room {
            let change = self.next(draft, kind);
            let actor = self.dice.person();
            self.act(draft, actor, &change);
        }
        if closes {
            let actor = self.dice.member();
            let last = if kind == Kind::Pull && size > 2 {
                Change::Merge
            } else {
                Change::Close(self.reason())
            };
            self.act(draft, actor, &last);
        }
    }

    fn reason(&mut self) -> String {
        (*self.dice.pick(&["completed", "completed", "not_planned", "duplicate"])).to_owned()
    }

    fn next(&mut self, draft: &Draft, kind: Kind) -> Change {
        match self.dice.between(0, if kind == Kind::Pull { 129 } else { 99 }) {
            0..=37 => Change::Comment(self.remark()),
            38..=52 => Change::Label(self.dice.pick(LABELS).0.to_owned()),
            53..=57 => Change::Unlabel(self.dice.pick(LABELS).0.to_owned()),
            58..=65 => Change::Milestone((*self.dice.pick(MILESTONES)).to_owned()),
            66..=72 => Change::Mention(self.dice.person().to_owned()),
            73..=81 => Change::Subscribe(self.dice.person().to_owned()),
            82..=85 => Change::Assign(self.dice.member().to_owned()),
            86 => Change::Unassign(self.dice.member().to_owned()),
            87..=90 => self.reference(kind).unwrap_or(Change::Reference),
            91..=92 => Change::Reference,
            93 if kind == Kind::Report => Change::Title(format!(
                "{} (mobile)",
                draft.issue["title"].as_str().unwrap_or_default()
            )),
            94 => Change::Type(self.dice.pick(TYPES).0.to_owned()),
            95..=96 => self.flip(draft),
            97 => {
                if draft.issue["locked"] == json!(true) {
                    Change::Unlock
                } else {
                    Change::Lock("too heated".into())
                }
            }
            98 => self.family(kind).unwrap_or(Change::Reference),
            100..=114 => Change::Commit((*self.dice.pick(COMMITS)).to_owned()),
            115..=124 => Change::Review(
                self.dice.pick::<&str>(&["approved", "changes_requested", "commented"]),
                self.remark(),
            ),
            125..=129 => Change::ForcePush,
            _ => Change::Comment(self.remark()),
        }
    }

    fn remark(&mut self) -> String {
        let (remark, site, person) = (*self.dice.pick(REMARKS), *self.dice.pick(SITES), self.dice.person());
        remark.replace("{site}", site).replace("{person}", person)
    }

    fn flip(&mut self, draft: &Draft) -> Change {
        if draft.issue["state"] == json!("closed") {
            Change::Reopen
        } else {
            Change::Close(self.reason())
        }
    }

    /// An earlier issue names this one. A moderated issue is only ever named by its partner.
    fn reference(&mut self, kind: Kind) -> Option<Change> {
        let other = self.other(kind)?;
        Some(Change::CrossReference(Box::new(nested(other, self.repo))))
    }

    fn family(&mut self, kind: Kind) -> Option<Change> {
        let other = Box::new(Value::Object(self.other(kind)?.issue.clone()));
        Some(if self.dice.chance(50) {
            Change::SubIssue(other)
        } else {
            Change::Parent(other)
        })
    }

    fn other(&mut self, kind: Kind) -> Option<&'a Draft> {
        if kind == Kind::Private || self.earlier.is_empty() {
            return None;
        }
        Some(&self.dice.pick(self.earlier).draft)
    }

    fn act(&mut self, draft: &mut Draft, actor: &str, change: &Change) {
        self.at += Duration::minutes(self.dice.between(1, 600).cast_signed());
        let at = stamp(self.at);
        draft.apply(
            change,
            By {
                repo: self.repo,
                actor,
                at: &at,
                id: *self.next_id,
            },
        );
        *self.next_id += 2;
    }
}

/// An issue as another one's timeline nests it: with its repository.
pub(super) fn nested(draft: &Draft, repo: &RepoRef) -> Value {
    let mut issue = draft.issue.clone();
    issue.insert("repository".into(), Value::Object(shapes::repository(repo)));
    Value::Object(issue)
}

/// A time as GitHub writes it: UTC, whole seconds.
pub(super) fn stamp(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0)
        .unwrap_or(at)
        .format(&Rfc3339)
        .expect("years of four digits have an RFC 3339 form")
}
