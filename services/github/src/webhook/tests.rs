use serde_json::{Value, json};

use super::*;

fn policy() -> Policy {
    let settings = bugstream_kit::config::Settings::load(
        None,
        |name| match name {
            "GITHUB_REPO_PUBLIC" => Some("WebCompat/web-bugs".to_owned()),
            "GITHUB_REPO_PRIVATE" => Some("webcompat/web-bugs-private".to_owned()),
            _ => None,
        },
        &[],
    );
    Policy {
        repositories: Repositories::read(&settings.unwrap()).unwrap(),
        pull_requests: true,
    }
}

fn of_event(event: &str) -> Head {
    Head::new(event, "72d3162e-cc78-11e3-81ab-4c9367dc0958", 292_430_182).unwrap()
}

fn routed(event: &str, payload: &Value) -> Result<Decision, Malformed> {
    route(of_event(event), payload.to_string().as_bytes(), &policy())
}

fn queued(event: &str, payload: &Value) -> (Vec<String>, When) {
    match routed(event, payload) {
        Ok(Decision::Queue(queue)) => (queue.issues.iter().map(ToString::to_string).collect(), queue.when),
        other => panic!("{event} was not queued: {other:?}"),
    }
}

fn ignored(event: &str, payload: &Value) -> bool {
    matches!(routed(event, payload), Ok(Decision::Ignore(_)))
}

fn repo(full_name: &str) -> Value {
    json!({"full_name": full_name, "private": false})
}

fn issue_payload(action: &str, number: Value) -> Value {
    json!({"action": action, "issue": {"number": number, "title": "t"}, "repository": repo("WebCompat/Web-Bugs")})
}

#[test]
fn each_kind_of_event_names_its_issue() {
    let pull = json!({"action": "opened", "pull_request": {"number": 7}, "repository": repo("webcompat/web-bugs")});
    for (event, payload) in [
        ("issues", issue_payload("labeled", json!(7))),
        ("issue_comment", issue_payload("created", json!(7))),
        ("pull_request", pull.clone()),
        ("pull_request_review", pull.clone()),
        ("pull_request_review_comment", pull.clone()),
        ("pull_request_review_thread", pull),
    ] {
        assert_eq!(
            queued(event, &payload),
            (vec!["webcompat/web-bugs#7".to_owned()], When::Quiet),
            "{event}"
        );
    }
}

#[test]
fn the_delivery_is_named_as_it_came() {
    let Ok(Decision::Queue(queue)) = routed("issues", &issue_payload("edited", json!(7))) else {
        panic!("it was not queued")
    };
    assert_eq!(
        queue.delivery,
        v1::Delivery {
            hook_id: 292_430_182,
            delivery_id: "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned(),
            event: "issues".to_owned(),
            action: "edited".to_owned(),
        }
    );
}

#[test]
fn a_sender_without_hook_and_delivery_id_is_heard_too() {
    let few = Head::new("issues", "", 0).unwrap();
    let body = issue_payload("edited", json!(7)).to_string();
    let Ok(Decision::Queue(queue)) = route(few, body.as_bytes(), &policy()) else {
        panic!("it was not queued")
    };
    assert_eq!((queue.delivery.hook_id, queue.delivery.delivery_id.as_str()), (0, ""));
}

#[test]
fn a_relation_concerns_both_of_its_ends_where_they_are_ours() {
    let end = |number: u64| json!({"number": number});
    let mine = repo("webcompat/web-bugs");
    let sub = json!({"action": "sub_issue_added", "parent_issue": end(1), "sub_issue": end(2),
        "sub_issue_repo": mine, "repository": mine});
    assert_eq!(
        queued("sub_issues", &sub).0,
        ["webcompat/web-bugs#1", "webcompat/web-bugs#2"]
    );

    let far = json!({"action": "parent_issue_added", "parent_issue": end(1), "parent_issue_repo": repo("a/b"),
        "sub_issue": end(2), "repository": mine});
    assert_eq!(queued("sub_issues", &far).0, ["webcompat/web-bugs#2"]);

    let near = json!({"action": "blocking_added", "blocking_issue": end(3), "blocked_issue": end(4),
        "blocked_issue_repo": mine, "repository": repo("a/b")});
    assert_eq!(
        queued("issue_dependencies", &near).0,
        ["webcompat/web-bugs#4"],
        "another repository's delivery about an issue of ours"
    );

    let url = json!({"number": 5, "repository_url": "https://ghes.example/api/v3/repos/webcompat/web-bugs"});
    let by_url = json!({"action": "blocked_by_added", "blocked_issue": end(3), "blocking_issue": url,
        "repository": repo("a/b")});
    assert_eq!(queued("issue_dependencies", &by_url).0, ["webcompat/web-bugs#5"]);

    let neither = json!({"action": "sub_issue_added", "repository": mine});
    let refused = routed("sub_issues", &neither).unwrap_err().to_string();
    assert_eq!(refused, "the payload's parent_issue is missing");
}

#[test]
fn takedowns_do_not_wait_and_nothing_else_hurries() {
    let edited = |title: &str, changes: Value| {
        json!({"action": "edited", "issue": {"number": 7, "title": title}, "changes": changes,
            "repository": repo("webcompat/web-bugs")})
    };
    let was = json!({"title": {"from": "a site that nobody should see"}});
    for (event, payload, when) in [
        ("issues", issue_payload("deleted", json!(7)), When::Now),
        ("issues", issue_payload("transferred", json!(7)), When::Now),
        ("issue_comment", issue_payload("deleted", json!(7)), When::Now),
        ("issues", edited("In the moderation queue.", was.clone()), When::Now),
        ("issues", edited("Issue closed.", was.clone()), When::Now),
        ("issues", edited("Another title", was), When::Quiet),
        (
            "issues",
            edited("Issue closed.", json!({"body": {"from": "b"}})),
            When::Quiet,
        ),
        ("issues", edited("Issue closed.", json!({})), When::Quiet),
        (
            "issues",
            edited("In the moderation queue", json!({"title": {}})),
            When::Quiet,
        ),
        ("issues", issue_payload("closed", json!(7)), When::Quiet),
        ("issues", issue_payload("locked", json!(7)), When::Quiet),
    ] {
        assert_eq!(queued(event, &payload).1, when, "{event} {payload}");
    }
}

#[test]
fn a_moderation_title_is_known_however_it_is_spelled_in_json() {
    let payload = json!({"action": "edited", "issue": {"number": 7, "title": "Issue closed."},
        "changes": {"title": {"from": "t"}}, "repository": repo("webcompat/web-bugs")});
    let spelled = payload
        .to_string()
        .replace("Issue closed.", "Issue\\u0020closed\\u002e");
    let Ok(Decision::Queue(queue)) = route(of_event("issues"), spelled.as_bytes(), &policy()) else {
        panic!("it was not queued")
    };
    assert_eq!(queue.when, When::Now);
}

#[test]
fn a_transfer_is_a_takedown_where_it_left_and_an_arrival_where_it_came() {
    let (mine, other) = (repo("webcompat/web-bugs"), repo("a/b"));
    let left = json!({"action": "transferred", "issue": {"number": 7}, "repository": mine,
        "changes": {"new_issue": {"number": 1, "title": "t"}, "new_repository": other}});
    assert_eq!(
        queued("issues", &left),
        (vec!["webcompat/web-bugs#7".to_owned()], When::Now)
    );
    let came = json!({"action": "opened", "issue": {"number": 8}, "repository": mine,
        "changes": {"old_issue": {"number": 1, "title": "t"}, "old_repository": other}});
    assert_eq!(
        queued("issues", &came),
        (vec!["webcompat/web-bugs#8".to_owned()], When::Quiet)
    );
}

#[test]
fn an_issue_that_became_a_discussion_is_an_issue_that_was_closed() {
    let discussion = json!({"action": "created", "discussion": {"number": 9, "state": "converting"},
        "repository": repo("webcompat/web-bugs")});
    assert!(ignored("discussion", &discussion));
    assert!(ignored("discussion_comment", &discussion));
    let closed = queued("issues", &issue_payload("closed", json!(7)));
    assert_eq!(closed, (vec!["webcompat/web-bugs#7".to_owned()], When::Quiet));
}

const PARTNER: &str = "WebCompat/web-bugs-private";

fn partners(action: &str, body: &str, changes: Value) -> Value {
    json!({"action": action, "issue": {"number": 99, "title": "secret", "body": body}, "changes": changes,
        "repository": repo(PARTNER)})
}

#[test]
fn a_private_partners_issue_refreshes_the_public_ones_that_it_names() {
    let names = "https://github.com/webcompat/web-bugs/issues/7";
    let was = json!({"body": {"from": "secret webcompat/web-bugs#8"}});
    let comment = json!({"action": "created", "issue": {"number": 99, "body": "secret"},
        "comment": {"body": "secret webcompat/web-bugs#5"}, "repository": repo(PARTNER)});
    for (event, payload, numbers, when) in [
        ("issues", partners("opened", names, json!(null)), &[7][..], When::Quiet),
        ("issues", partners("edited", names, was.clone()), &[7, 8], When::Quiet),
        ("issues", partners("edited", "secret", was), &[8], When::Quiet),
        ("issues", partners("deleted", names, json!({})), &[7], When::Now),
        ("issues", partners("transferred", names, json!({})), &[7], When::Now),
        ("issue_comment", comment, &[5], When::Quiet),
    ] {
        let numbers: Vec<_> = numbers.iter().map(|n| format!("webcompat/web-bugs#{n}")).collect();
        assert_eq!(queued(event, &payload), (numbers, when), "{event} {payload}");
    }
}

#[test]
fn a_private_partners_delivery_is_no_witness_and_leaves_nothing_of_its_content() {
    let payload = partners(
        "deleted",
        "secret webcompat/web-bugs#7",
        json!({"body": {"from": "secret"}}),
    );
    let Ok(Decision::Queue(queue)) = routed("issues", &payload) else {
        panic!("it was not queued")
    };
    assert_eq!(
        (queue.delivery.event.as_str(), queue.delivery.action.as_str()),
        ("issues", "")
    );
    let text = format!("{queue:?}");
    assert!(!text.contains("secret") && !text.contains("private"), "{text}");
}

#[test]
fn what_a_private_partner_says_beside_is_ignored() {
    let names = "webcompat/web-bugs#7";
    for (event, payload) in [
        ("issues", partners("edited", "secret", json!({}))),
        (
            "issues",
            partners("edited", "other/repo#7 #8 webcompat/web-bugs-private#9", json!({})),
        ),
        ("issues", partners("edited", "secret", json!("webcompat/web-bugs#7"))),
        (
            "issues",
            json!({"action": "opened", "issue": {"number": 1, "body": null}, "repository": repo(PARTNER)}),
        ),
        (
            "issues",
            json!({"action": "opened", "issue": {"number": 1, "body": [names]}, "repository": repo(PARTNER)}),
        ),
        (
            "pull_request",
            json!({"action": "opened", "pull_request": {"number": 1, "body": names},
            "repository": repo(PARTNER)}),
        ),
        (
            "sub_issues",
            json!({"action": "sub_issue_added", "repository": repo(PARTNER)}),
        ),
    ] {
        assert!(ignored(event, &payload), "{event} {payload}");
    }
    let without_issue = json!({"action": "opened", "repository": repo(PARTNER)});
    assert_eq!(
        routed("issues", &without_issue).unwrap_err().to_string(),
        "the payload's issue is missing"
    );
}

#[test]
fn a_partner_of_several_refreshes_each_and_nobody_elses() {
    let mut policy = policy();
    let mut second = policy.repositories.0[0].clone();
    second.name = "webcompat/second".parse().unwrap();
    let mut third = second.clone();
    (third.name, third.private) = ("webcompat/third".parse().unwrap(), None);
    policy.repositories.0.extend([second, third]);
    let body = "webcompat/second#1 webcompat/third#2 webcompat/web-bugs#3";
    let payload = partners("opened", body, json!({})).to_string();
    let Ok(Decision::Queue(queue)) = route(of_event("issues"), payload.as_bytes(), &policy) else {
        panic!("it was not queued")
    };
    let names: Vec<_> = queue.issues.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["webcompat/second#1", "webcompat/web-bugs#3"]);
}

#[test]
fn what_is_genuine_but_not_ours_is_ignored() {
    let mut elsewhere = issue_payload("edited", json!(7));
    for name in [PARTNER, "webcompat/other", "other/web-bugs"] {
        elsewhere["repository"] = repo(name);
        assert!(ignored("issues", &elsewhere), "{name}");
    }
    for event in ["ping", "push", "star", "issue", "Issues", "pull_request_target"] {
        assert!(ignored(event, &json!({"zen": "Keep it logically awesome."})), "{event}");
    }
}

#[test]
fn without_pull_requests_neither_they_nor_their_comments_are_ours() {
    let policy = Policy {
        pull_requests: false,
        ..policy()
    };
    let mut comment = issue_payload("created", json!(7));
    let decide = |event: &str, payload: &Value| route(of_event(event), payload.to_string().as_bytes(), &policy);
    assert!(matches!(decide("issue_comment", &comment), Ok(Decision::Queue(_))));
    comment["issue"]["pull_request"] = json!({"url": "u"});
    assert!(matches!(decide("issue_comment", &comment), Ok(Decision::Ignore(_))));
    assert!(matches!(decide("pull_request", &json!({})), Ok(Decision::Ignore(_))));
}

#[test]
fn numbers_that_are_none_are_refused_with_a_reason() {
    let literal = |number: &str| {
        format!(
            r#"{{"action":"edited","issue":{{"number":{number}}},"repository":{{"full_name":"webcompat/web-bugs"}}}}"#
        )
    };
    for number in [
        "\"7\"",
        "0",
        "-1",
        "7.0",
        "7e2",
        "1180591620717411303424",
        "9007199254740992",
        "null",
        "[7]",
        "{}",
        "true",
    ] {
        let refused = route(of_event("issues"), literal(number).as_bytes(), &policy()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the payload's issue.number is not an issue number (a whole number from 1 up)",
            "{number}"
        );
    }
    assert!(route(of_event("issues"), literal("9007199254740991").as_bytes(), &policy()).is_ok());
}

#[test]
fn malformed_payloads_say_what_is_wrong_and_quote_nothing() {
    let good = issue_payload("edited", json!(7)).to_string();
    let deep = "[".repeat(100_000);
    let deeper = format!("{{\"action\":{deep}");
    for (body, reason) in [
        ("", "not complete JSON"),
        (&good[..good.len() - 1], "not complete JSON"),
        (&good[..good.len() / 2], "not complete JSON"),
        ("{\"action\": secret}", "not complete JSON"),
        (&deep, "not complete JSON"),
        (&deeper, "not complete JSON"),
        ("\u{0}", "not complete JSON"),
        ("[]", "not a JSON object"),
        (
            "[\"edited\", {\"full_name\": \"webcompat/web-bugs\"}]",
            "not a JSON object",
        ),
        ("7", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "action is missing"),
        (r#"{"action": 5}"#, "action is not a word"),
        (r#"{"action": "secret title\r\n"}"#, "action is not a word"),
        (r#"{"action": "edited"}"#, "repository is missing"),
        (
            r#"{"action": "edited", "repository": "secret"}"#,
            "repository is not an object",
        ),
        (
            r#"{"action": "edited", "repository": {"full_name": "secret"}}"#,
            "repository is not a repository",
        ),
        (
            r#"{"action": "edited", "repository": {"full_name": "a/b"}}"#,
            "issue is missing",
        ),
        (
            r#"{"action": "edited", "repository": {"full_name": "a/b"}, "issue": [7]}"#,
            "issue or repository is not an object",
        ),
        (
            r#"{"action": "edited", "repository": {"full_name": "a/b"}, "issue": {}}"#,
            "issue or repository is not an object",
        ),
    ] {
        let refused = route(of_event("issues"), body.as_bytes(), &policy()).expect_err(reason);
        let text = refused.to_string();
        assert!(text.contains(reason) && !text.contains("secret"), "{reason}: {text}");
    }
    let not_text = route(of_event("issues"), b"{\"action\": \"\xff\"}", &policy());
    assert!(matches!(not_text, Err(Malformed::Json { .. })), "{not_text:?}");
}

#[test]
fn words_that_github_does_not_send_are_refused() {
    let long = "a".repeat(LONGEST_WORD + 1);
    for event in ["", "is sues", "iss\u{fc}es", "issues\r\n", &long] {
        assert_eq!(Head::new(event, "d", 1), Err(Malformed::Event), "{event:?}");
    }
    for id in ["a b", "a/b", &long] {
        assert_eq!(Head::new("issues", id, 1), Err(Malformed::DeliveryId), "{id:?}");
    }
}

#[test]
fn whatever_is_changed_in_a_payload_it_never_panics_and_names_only_our_repository() {
    let chance = bugstream_kit::chance::Chance::seeded(3);
    let below = |limit: usize| usize::try_from(chance.bits() % limit as u64).expect("below a usize");
    let sub = json!({"action": "sub_issue_added", "parent_issue": {"number": 1}, "sub_issue": {"number": 2},
        "sub_issue_repo": repo("webcompat/web-bugs"), "repository": repo("webcompat/web-bugs")});
    let whole = [
        ("issues", issue_payload("edited", json!(7)).to_string()),
        ("sub_issues", sub.to_string()),
        (
            "issues",
            partners("edited", "webcompat/web-bugs#7", json!({})).to_string(),
        ),
    ];
    let (mut queued, mut malformed) = (0, 0);
    for _ in 0..20_000 {
        let (event, whole) = &whole[below(3)];
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = b"{}[]\",:0\\\xff"[below(10)],
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[below(bytes.len())]),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        match route(of_event(event), &bytes, &policy()) {
            Ok(Decision::Queue(queue)) => {
                queued += 1;
                assert!(
                    queue
                        .issues
                        .iter()
                        .all(|issue| issue.repo().to_string() == "webcompat/web-bugs")
                );
            }
            Ok(Decision::Ignore(_)) => {}
            Err(_) => malformed += 1,
        }
    }
    assert!(
        queued > 100 && malformed > 1_000,
        "both happened: {queued}, {malformed}"
    );
}
