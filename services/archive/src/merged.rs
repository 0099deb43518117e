//! The JSON that the old system served and kept in its snapshots: an issue and its timeline, a private issue with the
//! title and body of its partner issue and with [`PRIVATE_FLAG`](crate::PRIVATE_FLAG), and nothing else added.
//!
//! What needs no change stays as it is, to the byte: a public issue, every timeline, and a private issue that has its
//! flag already. So what is made of a rendering later is classified as its origin was.
//!
//! For everybody there is another rendering: none of a private issue; of a public one without the events and members
//! that the wall keeps back. It follows the same [`Classified`] as the documents, so a public rendering has what the
//! public indices have. Of members with one name only the last is there, as the judgement looked at no other.

use std::borrow::Cow;

use crate::classify::{Classified, Rules, Side};
use crate::outline::Value;
use crate::parse::{ArchiveError, Archived};

/// An issue and its timeline as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering<'a> {
    /// One object.
    pub issue: Cow<'a, [u8]>,
    /// One array.
    pub timeline: Cow<'a, [u8]>,
}

/// The rendering for who may read private issues.
///
/// # Errors
/// [`ArchiveError`] for bytes that are no issue with timeline.
pub fn trusted<'a>(issue: &'a [u8], timeline: &'a [u8], rules: &Rules) -> Result<Rendering<'a>, ArchiveError> {
    let archived = Archived::parse(issue, timeline)?;
    let classified = archived.classify(rules);
    let changes = classified.issue() == Side::Private && (classified.merge.is_some() || !has_flag(archived.issue()));
    Ok(Rendering {
        issue: match changes {
            true => Cow::Owned(archived.merged_issue(&classified)),
            false => Cow::Borrowed(issue),
        },
        timeline: Cow::Borrowed(timeline),
    })
}

/// The rendering for everybody; `None` for a private issue.
///
/// # Errors
/// [`ArchiveError`] for bytes that are no issue with timeline.
pub fn public<'a>(issue: &'a [u8], timeline: &'a [u8], rules: &Rules) -> Result<Option<Rendering<'a>>, ArchiveError> {
    let archived = Archived::parse(issue, timeline)?;
    let classified = archived.classify(rules);
    if classified.issue() == Side::Private {
        return Ok(None);
    }
    let changes = !classified.withheld.is_empty() || archived.issue().says_twice();
    Ok(Some(Rendering {
        issue: match changes {
            true => Cow::Owned(archived.merged_issue(&classified)),
            false => Cow::Borrowed(issue),
        },
        timeline: public_timeline(&archived, &classified, timeline),
    }))
}

fn has_flag(issue: Value<'_>) -> bool {
    issue.get(crate::PRIVATE_FLAG).is_some_and(|flag| flag.json() == "true")
}

fn public_timeline<'a>(archived: &Archived<'_>, classified: &Classified, timeline: &'a [u8]) -> Cow<'a, [u8]> {
    let sides = classified.timeline().iter().enumerate();
    let shown = sides.filter(|(_, side)| **side == Side::Public);
    let shown: Vec<Value<'_>> = shown.map(|(position, _)| archived.event(position)).collect();
    let all = shown.len() == archived.timeline().len();
    if all && !shown.iter().any(|event| event.says_twice()) {
        return Cow::Borrowed(timeline);
    }
    let events: Vec<Cow<'_, str>> = shown.into_iter().map(once).collect();
    Cow::Owned(format!("[{}]", events.join(",")).into_bytes())
}

/// An event as it is, unless it says something twice.
fn once(event: Value<'_>) -> Cow<'_, str> {
    if !event.says_twice() {
        return Cow::Borrowed(event.json());
    }
    let members = event.members().into_iter().flatten();
    let members: Vec<String> = members
        .map(|member| format!("{}{}", member.prefix(), member.json()))
        .collect();
    Cow::Owned(format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGGED: &str = r#"{"__WEBCOMPAT_PRIVATE_ISSUE__": true, "title":"real"}"#;
    const HELD: &str = r#"[ {"event":"closed"} ,{"event":"cross-referenced","source":{"issue":{"title":"real","body":null,"repository":{"full_name":"o/p"}}}}, {"event":"reopened","n":1e400}]"#;

    fn rules() -> Rules {
        Rules {
            repository: "o/r".parse().unwrap(),
            private_partner: Some("o/p".parse().unwrap()),
            public: [].into(),
        }
    }

    fn texts(rendering: &Rendering<'_>) -> [String; 2] {
        [&rendering.issue, &rendering.timeline].map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn merged(issue: &str, timeline: &str) -> [String; 2] {
        texts(&trusted(issue.as_bytes(), timeline.as_bytes(), &rules()).unwrap())
    }

    fn shown(issue: &str, timeline: &str) -> Option<[String; 2]> {
        let rendering = public(issue.as_bytes(), timeline.as_bytes(), &rules()).unwrap();
        rendering.as_ref().map(texts)
    }

    #[test]
    fn a_private_issue_has_its_real_title_and_body_and_its_flag() {
        let issue = r#"{ "n": -0, "title":"Issue closed.", "body":"…","z":[1 , 2] }"#;
        let want = r#"{"n": -0,"title":"real","body":null,"z":[1 , 2],"__WEBCOMPAT_PRIVATE_ISSUE__":true}"#;
        assert_eq!(merged(issue, HELD), [want, HELD]);
        assert_eq!(merged(want, HELD), [want, HELD], "once more changes nothing");
        assert_eq!([shown(issue, HELD), shown(want, "[]")], [None, None]);
    }

    #[test]
    fn what_needs_no_change_has_none() {
        let issue = " {\n \"title\" : \"a\", \"parent_issue_url\":\"https://api.github.com/repos/o/p/issues/7\" }\n";
        assert_eq!(merged(issue, HELD), [issue, HELD]);
        assert_eq!(merged(FLAGGED, HELD), [FLAGGED, HELD]);
        let (plain, timeline) = (r#"{ "title" : "a" }"#, r#"[ {"event" :"closed"} ]"#);
        assert_eq!(shown(plain, timeline), Some([plain.to_owned(), timeline.to_owned()]));
    }

    #[test]
    fn everybody_sees_neither_private_events_nor_members_that_tell_of_them() {
        let issue = r#"{ "title":"a", "parent_issue_url":"https://api.github.com/repos/o/p/issues/7","b":1}"#;
        let [issue, timeline] = shown(issue, HELD).unwrap();
        assert_eq!(issue, r#"{"title":"a","b":1}"#);
        assert_eq!(timeline, r#"[{"event":"closed"},{"event":"reopened","n":1e400}]"#);
    }

    #[test]
    fn what_is_said_twice_was_judged_by_the_last() {
        let issue = r#"{"title":"hidden","\u0074itle":"a"}"#;
        let timeline =
            r#"[{"event":"cross-referenced","source":"hidden","event":"closed","source":null},{"event":"x"}]"#;
        let shown = shown(issue, timeline).unwrap();
        assert_eq!(
            shown,
            [
                r#"{"\u0074itle":"a"}"#,
                r#"[{"event":"closed","source":null},{"event":"x"}]"#
            ]
        );
    }

    #[test]
    fn what_is_no_issue_is_refused() {
        assert!(trusted(b"[]", b"[]", &rules()).is_err() && public(b"{}", b"{}", &rules()).is_err());
    }
}
