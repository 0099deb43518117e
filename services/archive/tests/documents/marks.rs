//! Marks grow with every event and never forget a position, whichever side it was on.

use bugstream_archive::{Classified, Marks, SideMarks};
use bugstream_proto::v1;

use crate::classify;

const OPEN: &str = r#"{"event":"labeled"}"#;
const HIDDEN: &str = r#"{"event":"transferred"}"#;

fn public(events: &[&str]) -> Classified {
    classify("{}", &format!("[{}]", events.join(",")))
}

fn private(events: &[&str]) -> Classified {
    classify(
        r#"{"__WEBCOMPAT_PRIVATE_ISSUE__":true}"#,
        &format!("[{}]", events.join(",")),
    )
}

fn marks(public: (u32, bool), private: (u32, bool)) -> Marks {
    let side = |(timeline, issue)| SideMarks { timeline, issue };
    Marks {
        public: side(public),
        private: side(private),
    }
}

#[test]
fn marks_are_the_highest_position_plus_one_of_each_side() {
    let table = [
        (public(&[]), marks((0, true), (0, false))),
        (public(&[OPEN, OPEN]), marks((2, true), (0, false))),
        (public(&[OPEN, HIDDEN, OPEN]), marks((3, true), (2, false))),
        (public(&[HIDDEN]), marks((0, true), (1, false))),
        (private(&[OPEN, OPEN]), marks((0, false), (2, true))),
    ];
    for (classified, want) in table {
        assert_eq!(Marks::default().grow(&classified), want);
    }
}

#[test]
fn marks_only_grow() {
    let history = [
        public(&[OPEN; 3]),
        public(&[OPEN]),
        private(&[OPEN, OPEN]),
        public(&[HIDDEN, OPEN]),
        public(&[]),
    ];
    let mut now = Marks::default();
    for event in &history {
        let next = now.grow(event);
        assert_eq!(next.grow(event), next, "growing twice by one event changes nothing");
        for (old, new) in [(now.public, next.public), (now.private, next.private)] {
            assert!(new.timeline >= old.timeline && new.issue >= old.issue);
        }
        now = next;
    }
    assert_eq!(now, marks((3, true), (2, true)));
    assert!(history.iter().all(|event| now.covers(event)));
}

#[test]
fn marks_that_miss_a_document_do_not_cover() {
    let event = public(&[OPEN, HIDDEN]);
    let exact = Marks::default().grow(&event);
    assert!(exact.covers(&event));
    for short in [
        marks((0, true), (2, false)),
        marks((1, false), (2, false)),
        marks((1, true), (1, false)),
        marks((9, true), (0, true)),
        Marks::default(),
    ] {
        assert!(!short.covers(&event), "{short:?}");
    }
}

#[test]
fn marks_travel_in_events() {
    let all = [
        marks((0, false), (0, false)),
        marks((7, true), (0, false)),
        marks((u32::MAX, false), (3, true)),
    ];
    for want in all {
        assert_eq!(Marks::from(&v1::Marks::from(want)), want);
    }
    assert_eq!(Marks::from(&v1::Marks::default()), Marks::default());
}
