//! Collections over a real log and real stores, killed and repeated.

use std::time::Duration;

use bugstream_kit::chance::Chance;
use bugstream_kit::clock::Clock;
use bugstream_kit::log::{Log, Logged};
use bugstream_kit::objects::Objects;
use bugstream_kit::retention::{CollectError, Collected, Collector, Manner, Rules};
use bugstream_proto::{Change, Downloaded, Event, IssueId, Nonce, Part, RepoName, v1};
use bytes::Bytes;

use crate::harness::{Bench, cause, issue};
use crate::objects::Place;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Mirror {
    log: Log,
    objects: Objects,
    /// Ahead of the servers' by as much as a test wants.
    clock: Clock,
    /// What an event's nonce is drawn from: two events with one nonce are one to the broker.
    chance: Chance,
}

impl Mirror {
    fn new(bench: &Bench, objects: Objects) -> Self {
        Self {
            log: bench.log(),
            objects,
            clock: Clock::stepping(),
            chance: Chance::seeded(1),
        }
    }

    fn later(&self, days: u32) -> &Self {
        self.clock.advance(DAY * days);
        self
    }

    fn repo() -> RepoName {
        issue(1).repo().clone()
    }

    async fn put(&self, issue: &IssueId, revision: u64, nonce: &Nonce, part: Part) -> v1::StoredObject {
        let raw = Bytes::from(format!("{{\"revision\": {revision}}}"));
        self.objects
            .put(issue, revision, nonce, part, raw)
            .await
            .expect("stored")
    }

    /// The next revision of an issue; the timeline may be the one of the event before.
    async fn download(&self, number: u64, keep_timeline: bool) -> Downloaded {
        let issue = issue(number);
        let newest = self.log.newest(&issue).await.expect("the log answers");
        let (revision, nonce) = (self.log.next_revision(newest.as_ref()), self.chance.nonce());
        let kept = match newest.as_ref().map(|newest| &newest.event.change) {
            Some(Change::Downloaded(known)) if keep_timeline => Some(known.timeline.clone()),
            _ => None,
        };
        let timeline = match kept {
            Some(kept) => kept,
            None => self.put(&issue, revision, &nonce, Part::Timeline).await,
        };
        let downloaded = Downloaded {
            issue: self.put(&issue, revision, &nonce, Part::Issue).await,
            timeline,
            timeline_events: 0,
        };
        self.publish(
            Change::Downloaded(downloaded.clone()),
            newest.as_ref(),
            revision,
            &issue,
        )
        .await;
        downloaded
    }

    async fn publish(&self, change: Change, newest: Option<&Logged>, revision: u64, issue: &IssueId) {
        let event = Event {
            issue: issue.clone(),
            revision,
            occurred_at: self.clock.now(),
            marks: v1::Marks::default(),
            cause: cause(),
            change,
        };
        self.log
            .publish(&event, newest, &self.chance.nonce())
            .await
            .expect("nobody else publishes");
    }

    fn collector(&self) -> Collector {
        Collector {
            log: self.log.clone(),
            objects: self.objects.clone(),
            rules: Rules {
                revisions: Some(DAY * 30),
                orphans: DAY,
            },
            clock: self.clock.clone(),
        }
    }

    async fn collect(&self, manner: Manner) -> Result<Collected, CollectError> {
        let step = self.collector().step(&Self::repo(), None, manner).await?;
        assert_eq!(step.next, None, "so few are one step");
        Ok(step.collected)
    }

    async fn collected(&self) -> Collected {
        self.collect(Manner::default()).await.expect("the log is whole")
    }

    async fn holds(&self, downloaded: &Downloaded) {
        for object in [&downloaded.issue, &downloaded.timeline] {
            self.objects.get(object).await.expect("what is named is there");
        }
    }

    async fn files(&self, number: u64) -> usize {
        self.objects
            .files(&issue(number))
            .await
            .expect("the store answers")
            .len()
    }
}

async fn what_is_old_goes_and_what_is_named_stays(objects: Objects) {
    let bench = Bench::start().await;
    let mirror = Mirror::new(&bench, objects);
    mirror.download(1, false).await;
    mirror.download(1, true).await;
    let third = mirror.download(1, false).await;
    let other = mirror.download(2, false).await;
    let orphan = mirror.put(&issue(3), 7, &Nonce::from_bits(9), Part::Issue).await;
    let nothing = mirror.collected().await;
    assert_eq!(
        nothing,
        Collected {
            issues: 3,
            ..Collected::default()
        },
        "nothing is old yet"
    );
    assert_eq!(mirror.later(2).collected().await.orphans, 1);
    assert!(!mirror.objects.exists(&orphan).await.expect("the store answers"));
    let dry_run = Manner {
        dry_run: true,
        ..Manner::default()
    };
    let would = mirror.later(30).collect(dry_run).await.expect("the log is whole");
    assert_eq!(
        (would.events, would.objects),
        (2, 3),
        "two issues and the timeline that they share"
    );
    assert_eq!(mirror.files(1).await, 5, "a dry run removes nothing");
    assert_eq!(mirror.collected().await, would, "what it said");
    assert_eq!(mirror.files(1).await, 2);
    let history = mirror.log.history(&issue(1)).await.expect("the log answers");
    assert_eq!(history.len(), 1);
    mirror.holds(&third).await;
    mirror.holds(&other).await;
    let again = mirror.later(4_000).collected().await;
    assert_eq!(
        (again.events, again.objects, again.orphans),
        (0, 0, 0),
        "the newest stays for ever"
    );
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_named_stays_in_a_directory() {
    let place = Place::directory();
    what_is_old_goes_and_what_is_named_stays(place.plain()).await;
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_named_stays_in_a_bucket() {
    let place = Place::s3().await;
    what_is_old_goes_and_what_is_named_stays(place.plain()).await;
}

#[tokio::test]
async fn a_collector_that_was_killed_leaves_orphans_for_the_next_one() {
    let bench = Bench::start().await;
    let place = Place::directory();
    let mirror = Mirror::new(&bench, place.plain());
    mirror.download(1, false).await;
    let newest = mirror.download(1, false).await;
    mirror.later(31);
    let history = mirror.log.history(&issue(1)).await.expect("the log answers");
    let dropped = mirror.log.drop_before(&issue(1), history[1].sequence).await;
    assert_eq!(dropped.expect("the log answers"), 1, "and then it was killed");
    let collected = mirror.collected().await;
    assert_eq!((collected.objects, collected.orphans, mirror.files(1).await), (0, 2, 2));
    mirror.holds(&newest).await;
    let beyond = mirror.log.drop_before(&issue(1), u64::MAX).await;
    assert_eq!(beyond.expect("the log answers"), 0, "the newest never goes");
}

#[tokio::test]
async fn a_log_that_was_lost_makes_no_orphans_until_a_person_says_so() {
    let (bench, fresh) = (Bench::start().await, Bench::start().await);
    let place = Place::directory();
    let mirror = Mirror::new(&bench, place.plain());
    for number in 1..=5 {
        mirror.download(number, false).await;
    }
    let lost = Mirror::new(&fresh, place.plain());
    let refused = lost.later(2).collect(Manner::default()).await;
    assert!(
        matches!(
            refused,
            Err(CollectError::TooMany {
                suspects: 10,
                files: 10
            })
        ),
        "{refused:?}"
    );
    assert_eq!(mirror.files(1).await, 2);
    let accepted = Manner {
        accept_orphans: true,
        ..Manner::default()
    };
    assert_eq!(lost.collect(accepted).await.expect("it was allowed").orphans, 10);
    assert_eq!(mirror.files(1).await, 0);
}

#[tokio::test]
async fn what_is_gone_names_nothing_and_its_left_overs_go() {
    let bench = Bench::start().await;
    let place = Place::directory();
    let mirror = Mirror::new(&bench, place.plain());
    mirror.download(1, false).await;
    let newest = mirror.log.newest(&issue(1)).await.expect("the log answers");
    let revision = mirror.log.next_revision(newest.as_ref());
    mirror
        .publish(Change::Forgotten, newest.as_ref(), revision, &issue(1))
        .await;
    assert_eq!(mirror.collected().await.objects, 0, "a purge may be under way");
    assert_eq!(mirror.later(2).collected().await.objects, 2);
    assert_eq!(mirror.files(1).await, 0);
}

async fn folders_come_in_the_order_of_their_names_page_by_page(objects: Objects) {
    let bench = Bench::start().await;
    let mirror = Mirror::new(&bench, objects);
    for number in [2, 100, 1, 11, 10] {
        mirror.download(number, false).await;
    }
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = mirror.objects.shelves(&Mirror::repo(), after.as_deref(), 2).await;
        let page = page.expect("the store answers");
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        assert!(page.iter().all(|shelf| shelf.files.len() == 2), "{page:?}");
        pages.push(page.into_iter().map(|shelf| shelf.name).collect::<Vec<_>>());
    }
    assert_eq!(pages, [vec!["1", "10"], vec!["100", "11"], vec!["2"]]);
    let files = mirror.objects.files(&issue(1)).await.expect("the store answers");
    assert!(
        files.iter().all(|file| file.key.starts_with("issues/a/b/1/")),
        "{files:?}"
    );
    assert_eq!(mirror.objects.purge_all(&issue(1)).await.expect("the store answers"), 2);
    assert_eq!((mirror.files(1).await, mirror.files(10).await), (0, 2));
}

#[tokio::test]
async fn folders_come_in_the_order_of_their_names_page_by_page_from_a_directory() {
    folders_come_in_the_order_of_their_names_page_by_page(Place::directory().plain()).await;
}

#[tokio::test]
async fn folders_come_in_the_order_of_their_names_page_by_page_from_a_bucket() {
    let place = Place::s3().await;
    folders_come_in_the_order_of_their_names_page_by_page(place.plain()).await;
    folders_come_in_the_order_of_their_names_page_by_page(place.below("deep/er")).await;
}

#[tokio::test]
async fn a_write_that_was_cut_short_is_seen_and_removed_and_other_peoples_files_stay() {
    let bench = Bench::start().await;
    let place = Place::directory();
    let mirror = Mirror::new(&bench, place.plain());
    let downloaded = mirror.download(1, false).await;
    let path = |rest: &str| place.path().join(rest);
    std::fs::write(path(&format!("{}#1", downloaded.issue.key)), "{").expect("written");
    std::fs::create_dir_all(path("issues/a/b/notes")).expect("made");
    for strange in ["issues/a/b/notes/of-ours.txt", "issues/a/b/1/README", "elsewhere.txt"] {
        std::fs::write(path(strange), "mine").expect("written");
    }
    let collected = mirror.later(2).collected().await;
    assert_eq!((collected.orphans, collected.unknown, mirror.files(1).await), (1, 2, 3));
    mirror.holds(&downloaded).await;
    assert!(path("issues/a/b/notes/of-ours.txt").exists() && path("elsewhere.txt").exists());
    mirror.objects.purge_all(&issue(1)).await.expect("the store answers");
    assert_eq!(mirror.files(1).await, 0, "a forget takes whatever lies there");
}
