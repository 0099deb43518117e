//! A pull request as webhooks have it: what is an issue too, without what only issues have, and with its branches.

use serde_json::{Map, Value, json};

use super::history::Draft;
use super::shapes::{self, RepoRef, map};

/// What an issue has and a pull request has not.
const OF_ISSUES: &[&str] = &[
    "closed_by",
    "events_url",
    "issue_dependencies_summary",
    "labels_url",
    "parent_issue_url",
    "performed_via_github_app",
    "reactions",
    "repository_url",
    "state_reason",
    "sub_issues_summary",
    "timeline_url",
    "type",
];

/// The `pull_request` of a webhook.
pub(super) fn request(repo: &RepoRef, issue: &Draft) -> Value {
    let mut pull = issue.issue.clone();
    let closer = pull.get("closed_by").cloned().unwrap_or_default();
    let issue_url = pull.get("url").cloned().unwrap_or_default();
    let urls = map(pull.remove("pull_request").unwrap_or_default());
    let merged = urls.get("merged_at").is_some_and(|at| !at.is_null());
    pull.extend(urls);
    pull.retain(|key, _| !OF_ISSUES.contains(&key.as_str()));
    for person in pull
        .get_mut("assignees")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        person.as_object_mut().map(|person| person.remove("user_view_type"));
    }
    pull.extend(addresses(repo, &pull, &issue_url));
    pull.extend(map(json!({
        "auto_merge": null, "merge_commit_sha": null, "requested_reviewers": [], "requested_teams": [], "merged": merged,
        "merged_by": if merged { closer } else { Value::Null }, "mergeable": null, "mergeable_state": "unknown",
        "maintainer_can_modify": false, "commits": 1, "additions": 12, "deletions": 3, "changed_files": 2, "review_comments": 0,
        "head": branch(repo, "a-change", HEAD), "base": branch(repo, "main", BASE),
    })));
    Value::Object(pull)
}

const HEAD: &str = "5f0c2a1b9d8e7f60514233445566778899aabbcc";
const BASE: &str = "0123456789abcdef0123456789abcdef01234567";

fn branch(repo: &RepoRef, name: &str, sha: &str) -> Value {
    json!({
        "label": format!("{}:{name}", repo.owner()), "ref": name, "sha": sha, "user": shapes::user(repo.owner()),
        "repo": shapes::repository(repo),
    })
}

fn addresses(repo: &RepoRef, pull: &Map<String, Value>, issue_url: &Value) -> Map<String, Value> {
    let url = pull.get("url").and_then(Value::as_str).unwrap_or_default();
    let (commits, comments) = (format!("{url}/commits"), format!("{url}/comments"));
    let (comment, statuses) = (
        format!("{}/pulls/comments{{/number}}", repo.url()),
        format!("{}/statuses/{HEAD}", repo.url()),
    );
    let link = |href: Value| json!({"href": href});
    map(json!({
        "issue_url": issue_url, "commits_url": commits, "review_comments_url": comments, "review_comment_url": comment,
        "statuses_url": statuses,
        "_links": {
            "self": link(json!(url)), "html": link(pull["html_url"].clone()), "issue": link(issue_url.clone()),
            "comments": link(pull["comments_url"].clone()), "review_comments": link(json!(comments)),
            "review_comment": link(json!(comment)), "commits": link(json!(commits)), "statuses": link(json!(statuses)),
        },
    }))
}
