//! Tables of what is public and what is not.

use super::*;

const OWN: &str = "https://api.github.com/repos/o/r";

fn rules() -> Rules {
    Rules {
        repository: "o/r".parse().unwrap(),
        private_partner: Some("o/secret".parse().unwrap()),
        public: BTreeSet::from(["friends/open".parse().unwrap()]),
    }
}

fn classify(issue: &str, timeline: &str) -> Classified {
    Archived::parse(issue.as_bytes(), timeline.as_bytes())
        .unwrap()
        .classify(&rules())
}

fn event(json: &str) -> Side {
    classify(r#"{"title":"x"}"#, &format!("[{json}]")).timeline()[0]
}

fn cross_reference(issue: &str) -> String {
    format!(r#"{{"event":"cross-referenced","source":{{"type":"issue","issue":{issue}}}}}"#)
}

#[test]
fn ordinary_events_are_public() {
    let events = [
        r#"{"event":"closed","url":"https://api.github.com/repos/o/r/issues/events/1","commit_id":null,"commit_url":null,"actor":{"login":"x","url":"https://api.github.com/users/x","html_url":"https://github.com/x","repos_url":"https://api.github.com/users/x/repos"}}"#,
        r#"{"event":"labeled","label":{"name":"project: secret","color":"fff"}}"#,
        r#"{"event":"milestoned","milestone":{"title":"v1"}}"#,
        r#"{"event":"renamed","rename":{"from":"see o/secret#1","to":"https://github.com/o/secret"}}"#,
        r#"{"event":"commented","url":"https://api.github.com/repos/O/R/issues/comments/1","html_url":"https://github.com/O/R/issues/1#issuecomment-1","issue_url":"https://api.github.com/repos/O/R/issues/1","body":"see https://github.com/o/secret/issues/3 and https://api.github.com/repos/o/secret","reactions":{"url":"https://api.github.com/repos/o/r/issues/comments/1/reactions"},"user":{"login":"b[bot]","html_url":"https://github.com/apps/b"},"performed_via_github_app":{"name":"b","external_url":"https://example.com/a/b","html_url":"https://github.com/apps/b","owner":{"html_url":"https://github.com/x"}}}"#,
        r#"{"event":"committed","sha":"a","url":"https://api.github.com/repos/o/r/git/commits/a","html_url":"https://github.com/o/r/commit/a","message":"fix o/secret#1","tree":{"url":"https://api.github.com/repos/o/r/git/trees/b"},"parents":[{"url":"https://api.github.com/repos/o/r/git/commits/c","html_url":"https://github.com/o/r/commit/c"}]}"#,
        r#"{"event":"reviewed","html_url":"https://github.com/o/r/pull/1#pullrequestreview-2","pull_request_url":"https://api.github.com/repos/o/r/pulls/1","_links":{"html":{"href":"https://github.com/o/r/pull/1#pullrequestreview-2"},"pull_request":{"href":"https://api.github.com/repos/o/r/pulls/1"}}}"#,
        r#"{"event":"referenced","commit_id":"a","commit_url":"https://api.github.com/repos/o/r/commits/a"}"#,
        r#"{"event":"review_requested","requested_team":{"name":"t","html_url":"https://github.com/orgs/o/teams/t","repositories_url":"https://api.github.com/organizations/1/team/2/repos"}}"#,
        r#"{"event":"connected","url":"https://api.github.com/repos/o/r/issues/events/5"}"#,
        r#"{"event":"marked_as_duplicate"}"#,
        r#"{"event":"converted_to_discussion"}"#,
        r#"{"event":"a_kind_of_2031","thing":{"deep":[{"er":1e400}]}}"#,
        r#"{"event":null}"#,
        "{}",
    ];
    for json in events {
        assert_eq!(event(json), Side::Public, "{json}");
    }
}

#[test]
fn events_that_name_what_is_not_known_to_be_public_are_private() {
    let events = [
        r#"{"event":"referenced","commit_url":"https://api.github.com/repos/fork/r/commits/a"}"#,
        r#"{"event":"closed","commit_url":"https://api.github.com/repos/o/secret/commits/a"}"#,
        r#"{"event":"closed","commit_url":"https://api.github.com/repositories/5/commits/a"}"#,
        r#"{"event":"connected","subject":{"number":5,"title":"t"}}"#,
        r#"{"event":"connected","subject":{"number":5,"html_url":"https://github.com/o/secret/pull/5"}}"#,
        r#"{"event":"marked_as_duplicate","canonical":{"repository":{"full_name":"who/knows"}}}"#,
        r#"{"event":"converted_to_discussion","discussion":{"number":3,"html_url":"https://github.com/who/knows/discussions/3"}}"#,
        r#"{"event":"a_kind_of_2031","deep":[[{"repo":{"name":"nameless"}}]]}"#,
        r#"{"event":"a_kind_of_2031","origin_repository":"who/knows"}"#,
        r#"{"event":"a_kind_of_2031","repository":17}"#,
        r#"{"event":"a_kind_of_2031","repository":{"full_name":"friends/open","private":true}}"#,
        r#"{"event":"a_kind_of_2031","repository":{"full_name":"friends/open","private":"no"}}"#,
        r#"{"event":"a_kind_of_2031","repository":{"full_name":"who/knows","private":false,"visibility":"internal"}}"#,
        r#"{"event":"a_kind_of_2031","x":{"\ud800":1}}"#,
        r#"{"event":"labeled","project_card":{"url":"https://api.github.com/projects/columns/cards/1"}}"#,
        r#"{"event":"transferred"}"#,
        r#"{"event":"added_to_project"}"#,
        r#"{"event":"added_to_project_v2"}"#,
        r#"{"event":"project_v2_item_status_changed"}"#,
        r#"{"event":"moved_columns_in_project","project_card":{"project_id":1}}"#,
        r#"{"event":"removed_from_project"}"#,
        r#"{"event":"converted_note_to_issue"}"#,
    ];
    for json in events {
        assert_eq!(event(json), Side::Private, "{json}");
    }
    let deep = format!(
        r#"{{"event":"x","a":{}1{}}}"#,
        r#"{"a":"#.repeat(5000),
        "}".repeat(5000)
    );
    assert_eq!(event(&deep), Side::Private);
}

#[test]
fn cross_references_are_public_only_from_where_is_known_to_be_public() {
    let table = [
        (
            r#"{"number":2,"repository_url":"https://api.github.com/repos/o/r"}"#,
            Side::Public,
        ),
        (
            r#"{"number":2,"repository":{"full_name":"O/R","private":false}}"#,
            Side::Public,
        ),
        (r#"{"number":2,"repository":{"full_name":"o/r"}}"#, Side::Public),
        (
            r#"{"number":2,"repository_url":"https://api.github.com/repos/friends/open"}"#,
            Side::Public,
        ),
        (
            r#"{"number":2,"repository_url":"https://api.github.com/repos/a/b","repository":{"full_name":"a/b","private":false,"url":"https://api.github.com/repos/a/b","html_url":"https://github.com/a/b"},"milestone":{"number":1,"title":"m","url":"https://api.github.com/repos/a/b/milestones/1"}}"#,
            Side::Public,
        ),
        (
            r#"{"number":2,"html_url":"https://github.com/o/r/issues/2"}"#,
            Side::Public,
        ),
        (
            r#"{"number":2,"repository_url":"https://api.github.com/repos/a/b"}"#,
            Side::Private,
        ),
        (
            r#"{"number":2,"repository":{"full_name":"a/b","private":true}}"#,
            Side::Private,
        ),
        (
            r#"{"number":2,"repository":{"full_name":"o/secret","private":false}}"#,
            Side::Private,
        ),
        (
            r#"{"number":2,"repository_url":"https://api.github.com/repos/o/r","repository":{"full_name":"o/secret"}}"#,
            Side::Private,
        ),
        (
            r#"{"number":2,"repository_url":"https://api.github.com/repos/o/r","parent_issue_url":"https://api.github.com/repos/o/secret/issues/9"}"#,
            Side::Private,
        ),
        (r#"{"number":2,"repository":{"private":false}}"#, Side::Private),
        (
            r#"{"number":2,"repository":{"full_name":"a/b","private":false},"body":"x","base":{"repo":{"full_name":"who/knows"}}}"#,
            Side::Private,
        ),
        (r#"{"number":2,"title":"no repository"}"#, Side::Private),
        ("{}", Side::Private),
        ("null", Side::Private),
        ("[]", Side::Private),
    ];
    for (issue, want) in table {
        assert_eq!(event(&cross_reference(issue)), want, "{issue}");
    }
    for shape in [
        r#""source":null"#,
        r#""source":{"type":"issue"}"#,
        r#""x":1"#,
        r#""source":{"issue":"o/r#1"}"#,
    ] {
        assert_eq!(
            event(&format!(r#"{{"event":"cross-referenced",{shape}}}"#)),
            Side::Private,
            "{shape}"
        );
    }
}

#[test]
fn kinds_that_nest_an_issue_must_say_where_it_lies() {
    for (kind, member) in [
        ("sub_issue_added", "sub_issue"),
        ("sub_issue_removed", "sub_issue"),
        ("parent_issue_added", "parent_issue"),
        ("parent_issue_removed", "parent_issue"),
        ("blocked_by_added", "blocked_by"),
        ("blocked_by_removed", "blocked_by"),
        ("blocking_added", "blocking"),
        ("blocking_removed", "blocking"),
    ] {
        let with = |value: &str| format!(r#"{{"event":"{kind}","url":"{OWN}/issues/events/1","{member}":{value}}}"#);
        let table = [
            (
                r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"a/b","private":false}}"#,
                Side::Public,
            ),
            (
                r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"o/r","private":false}}"#,
                Side::Public,
            ),
            (
                r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"a/b","private":true}}"#,
                Side::Private,
            ),
            (
                r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"o/secret","private":false}}"#,
                Side::Private,
            ),
            (
                r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"a/b"}}"#,
                Side::Private,
            ),
            (r#"{"id":1,"number":2,"title":"t"}"#, Side::Private),
            ("null", Side::Private),
            ("7", Side::Private),
        ];
        for (value, want) in table {
            assert_eq!(event(&with(value)), want, "{kind}: {value}");
        }
        assert_eq!(
            event(&format!(r#"{{"event":"{kind}","url":"{OWN}/issues/events/1"}}"#)),
            Side::Private,
            "{kind}"
        );
    }
}

#[test]
fn an_issue_is_private_by_title_and_partner_or_by_flag_or_by_place() {
    let partner = cross_reference(r#"{"number":7,"repository":{"full_name":"O/Secret","private":true}}"#);
    let by_url = cross_reference(r#"{"number":7,"repository_url":"https://api.github.com/repos/o/secret"}"#);
    let other = cross_reference(r#"{"number":7,"repository":{"full_name":"a/b","private":true}}"#);
    let mention = r#"{"event":"mentioned","source":{"issue":{"repository":{"full_name":"o/secret"}}}}"#;
    let table = [
        (r#"{"title":"In the moderation queue."}"#, &*partner, Side::Private),
        (r#"{"title":"Issue closed."}"#, &*partner, Side::Private),
        (r#"{"title":"\u0049ssue closed."}"#, &*by_url, Side::Private),
        (r#"{"title":"Issue closed"}"#, &*partner, Side::Public),
        (r#"{"title":"issue closed."}"#, &*partner, Side::Public),
        (r#"{"title":"Issue closed. "}"#, &*partner, Side::Public),
        (r#"{"title":"Issue closed."}"#, &*other, Side::Public),
        (r#"{"title":"Issue closed."}"#, mention, Side::Public),
        (r#"{"title":"Issue closed."}"#, r#"{"event":"closed"}"#, Side::Public),
        (
            r#"{"title":"real","__WEBCOMPAT_PRIVATE_ISSUE__":true}"#,
            r#"{"event":"closed"}"#,
            Side::Private,
        ),
        (
            r#"{"title":"real","__WEBCOMPAT_PRIVATE_ISSUE__":null}"#,
            r#"{"event":"closed"}"#,
            Side::Private,
        ),
        (
            r#"{"title":"real","__WEBCOMPAT_PRIVATE_ISSUE__":false}"#,
            r#"{"event":"closed"}"#,
            Side::Public,
        ),
        (
            r#"{"repository_url":"https://api.github.com/repos/o/secret"}"#,
            r#"{"event":"closed"}"#,
            Side::Private,
        ),
        (
            r#"{"repository":{"full_name":"o/r","private":true}}"#,
            r#"{"event":"closed"}"#,
            Side::Private,
        ),
        (
            r#"{"repository":{"full_name":"o/r","private":false}}"#,
            r#"{"event":"closed"}"#,
            Side::Public,
        ),
    ];
    for (issue, event, want) in table {
        let got = classify(issue, &format!(r#"[{event},{{"event":"labeled"}}]"#));
        assert_eq!(got.issue(), want, "{issue} {event}");
        assert_eq!(got.timeline()[1], want, "the timeline of {issue} {event}");
    }
}

#[test]
fn without_a_partner_no_title_makes_an_issue_private() {
    let timeline = format!("[{}]", cross_reference(r#"{"repository":{"full_name":"o/secret"}}"#));
    let archived = Archived::parse(br#"{"title":"Issue closed."}"#, timeline.as_bytes()).unwrap();
    let got = archived.classify(&Rules {
        private_partner: None,
        ..rules()
    });
    assert_eq!((got.issue(), got.timeline()), (Side::Public, &[Side::Private][..]));
}

#[test]
fn a_public_issue_keeps_its_own_members_and_no_others_that_name_what_is_not_known_to_be_public() {
    let secret = r#"{"url":"https://api.github.com/repos/o/secret/issues/9"}"#;
    let unknown = r#"{"html_url":"https://github.com/who/knows/issues/9"}"#;
    let renamed = r#"{"url":"https://api.github.com/repos/old/name/x"}"#;
    let ours = r#"{"url":"https://api.github.com/repos/o/r/issues/9"}"#;
    let public = r#"{"full_name":"a/b","private":false}"#;
    let table = [
        ("milestone", renamed, true),
        (
            "events_url",
            r#""https://api.github.com/repos/old/name/issues/1/events""#,
            true,
        ),
        ("reactions", renamed, true),
        ("duplicate_of", secret, false),
        ("duplicate_of", unknown, false),
        ("duplicate_of", ours, true),
        ("duplicate_of", public, true),
        ("duplicate_of", r#"{"number":9,"title":"nowhere"}"#, false),
        (
            "canonical_url",
            r#""https://api.github.com/repos/o/secret/issues/9""#,
            false,
        ),
        (
            "canonical_url",
            r#""https:\/\/api.github.com\/repos\/o\/secret\/issues\/9""#,
            false,
        ),
        (
            r"canonical\u005furl",
            r#""https://api.github.com/repos/o/secret/issues/9""#,
            false,
        ),
        ("head_repo", r#""o/secret""#, false),
        ("projects_v2", "[]", false),
        (
            "parent_issue_url",
            r#""https://api.github.com/repos/o/secret/issues/9""#,
            false,
        ),
        ("sub_issues_summary", r#"{"total":2}"#, true),
        ("a_word_of_2031", r#""see o/secret#1""#, true),
    ];
    for (name, value, kept) in table {
        let got = classify(&format!(r#"{{"title":"x","{name}":{value}}}"#), "[]");
        assert_eq!(got.issue(), Side::Public);
        assert_eq!(got.withheld.is_empty(), kept, "{name}: {value}");
    }
    let private = classify(&format!(r#"{{"{PRIVATE_FLAG}":true,"duplicate_of":{secret}}}"#), "[]");
    assert!(
        private.withheld.is_empty(),
        "who reads a private issue may read all of it"
    );
}
