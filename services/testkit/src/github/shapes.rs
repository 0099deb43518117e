//! GitHub's JSON objects as its REST API description publishes them: users, labels, milestones, repositories, issues.
//!
//! Addresses in bodies are those of `api.github.com` whatever port the simulator has, as in recorded payloads; so the
//! same seed is the same bytes everywhere. Only `Link` and `Location` name the simulator itself.

use serde_json::{Map, Value, json};

use super::words::{LABELS, MEMBERS, PEOPLE, TYPES};

/// The root of addresses in bodies.
pub(super) const API: &str = "https://api.github.com";
/// The root of addresses for people.
pub(super) const WEB: &str = "https://github.com";

/// What the moderators' bot gives a report as its title while it waits.
pub(super) const MODERATION_TITLE: &str = "In the moderation queue.";
/// And as its body.
pub(super) const MODERATION_BODY: &str =
    "<p>Thanks for the report. It waits for a moderator, who checks it for personal data before it is published.</p>";

/// Name and id of a repository: what its objects' addresses are made of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct RepoRef {
    /// GitHub's number for it, which a rename keeps.
    pub(super) id: u64,
    /// `owner/name` as its owner spells it.
    pub(super) full_name: String,
    /// Whether only members see it.
    pub(super) private: bool,
    /// Whether it has issues at all.
    pub(super) has_issues: bool,
}

impl RepoRef {
    pub(super) fn owner(&self) -> &str {
        self.full_name.split_once('/').map_or("", |(owner, _)| owner)
    }

    pub(super) fn name(&self) -> &str {
        self.full_name.split_once('/').map_or("", |(_, name)| name)
    }

    pub(super) fn url(&self) -> String {
        format!("{API}/repos/{}", self.full_name)
    }

    pub(super) fn html_url(&self) -> String {
        format!("{WEB}/{}", self.full_name)
    }
}

/// A stable number for a name (FNV-1a), so that an account or label has one id wherever it turns up.
pub(super) fn id_of(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    1_000_000 + hash % 90_000_000
}

/// A `simple-user`.
pub(super) fn user(login: &str) -> Value {
    let (id, url) = (id_of(login), format!("{API}/users/{}", in_path(login)));
    let bot = login.strip_suffix("[bot]");
    let page = bot.map_or_else(|| format!("{WEB}/{login}"), |app| format!("{WEB}/apps/{app}"));
    json!({
        "login": login, "id": id, "node_id": format!("U_kgDO{id:08x}"),
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"), "gravatar_id": "",
        "url": url, "html_url": page, "followers_url": format!("{url}/followers"),
        "following_url": format!("{url}/following{{/other_user}}"), "gists_url": format!("{url}/gists{{/gist_id}}"),
        "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"), "subscriptions_url": format!("{url}/subscriptions"),
        "organizations_url": format!("{url}/orgs"), "repos_url": format!("{url}/repos"),
        "events_url": format!("{url}/events{{/privacy}}"), "received_events_url": format!("{url}/received_events"),
        "type": if bot.is_some() { "Bot" } else { "User" }, "user_view_type": "public", "site_admin": false,
    })
}

/// `MEMBER` for the project's own people, `NONE` for everyone else.
pub(super) fn association(login: &str) -> &'static str {
    if PEOPLE.iter().take(MEMBERS).any(|member| *member == login) {
        "MEMBER"
    } else {
        "NONE"
    }
}

/// A label of the tracker; one that it does not know gets GitHub's grey.
pub(super) fn label(repo: &RepoRef, name: &str) -> Value {
    let (colour, description) = LABELS
        .iter()
        .find(|l| l.0 == name)
        .map_or(("ededed", None), |l| (l.1, Some(l.2)));
    let id = id_of(name);
    json!({
        "id": id, "node_id": format!("LA_kwDO{id:08x}"), "url": format!("{}/labels/{}", repo.url(), in_path(name)),
        "name": name, "color": colour, "default": false, "description": description,
    })
}

/// A name as a part of an address.
fn in_path(name: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    encoded.replace('+', "%20")
}

/// A milestone; the tracker uses them as states.
pub(super) fn milestone(repo: &RepoRef, title: &str) -> Value {
    let id = id_of(title);
    let number = super::words::MILESTONES
        .iter()
        .position(|m| *m == title)
        .map_or(99, |i| i + 1);
    json!({
        "url": format!("{}/milestones/{number}", repo.url()), "html_url": format!("{}/milestone/{number}", repo.html_url()),
        "labels_url": format!("{}/milestones/{number}/labels", repo.url()), "id": id, "node_id": format!("MI_kwDO{id:08x}"),
        "number": number, "title": title, "description": "", "creator": user(PEOPLE[0]), "open_issues": 10, "closed_issues": 20,
        "state": "open", "created_at": "2023-06-01T08:00:00Z", "updated_at": "2023-06-01T08:00:00Z", "due_on": null, "closed_at": null,
    })
}

/// An `issue-type` of the organisation.
pub(super) fn issue_type(name: &str) -> Value {
    let id = id_of(name);
    let colour = TYPES.iter().find(|t| t.0 == name).map_or("gray", |t| t.1);
    json!({
        "id": id, "node_id": format!("IT_kwDO{id:08x}"), "name": name, "description": null, "color": colour,
        "created_at": "2024-10-01T08:00:00Z", "updated_at": "2024-10-01T08:00:00Z", "is_enabled": true,
    })
}

/// The `reactions` of what lives at `url`: `+1`, `heart`, `eyes`.
pub(super) fn reactions(url: &str, counts: [u64; 3]) -> Value {
    json!({
        "url": format!("{url}/reactions"), "total_count": counts.iter().sum::<u64>(), "+1": counts[0], "-1": 0, "laugh": 0,
        "hooray": 0, "confused": 0, "heart": counts[1], "rocket": 0, "eyes": counts[2],
    })
}

/// Address templates of a repository: key, what follows its own address.
const REPOSITORY_URLS: &[(&str, &str)] = &[
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
];

/// A `repository`, as issues nest it and webhooks carry it.
pub(super) fn repository(repo: &RepoRef) -> Map<String, Value> {
    let (web, name) = (repo.html_url(), &repo.full_name);
    let mut object = map(json!({
        "id": repo.id, "node_id": format!("R_kgDO{:08x}", repo.id), "name": repo.name(), "full_name": name, "owner": owner(repo),
        "private": repo.private, "html_url": web, "description": "Bugs of web sites in browsers", "fork": false, "url": repo.url(),
        "clone_url": format!("{web}.git"), "git_url": format!("git://github.com/{name}.git"), "ssh_url": format!("git@github.com:{name}.git"),
        "svn_url": web, "mirror_url": null, "homepage": null, "language": null, "license": null, "default_branch": "main", "topics": [],
    }));
    object.extend(map(json!({
        "visibility": if repo.private { "private" } else { "public" }, "has_issues": repo.has_issues, "has_projects": true,
        "has_wiki": false, "has_pages": false, "has_downloads": true, "has_discussions": false, "archived": false, "disabled": false,
        "is_template": false, "allow_forking": true, "web_commit_signoff_required": false, "size": 4321, "forks": 12, "forks_count": 12,
        "stargazers_count": 340, "watchers": 340, "watchers_count": 340, "open_issues": 250, "open_issues_count": 250,
        "created_at": "2023-06-01T08:00:00Z", "updated_at": "2024-10-01T08:00:00Z", "pushed_at": "2024-10-01T08:00:00Z",
    })));
    object.extend(
        REPOSITORY_URLS
            .iter()
            .map(|(key, rest)| ((*key).to_owned(), json!(format!("{}{rest}", repo.url())))),
    );
    object
}

/// What a `simple-repository` has of a repository, besides `owner` and [`REPOSITORY_URLS`].
const SIMPLE: &[&str] = &[
    "id",
    "node_id",
    "name",
    "full_name",
    "private",
    "html_url",
    "description",
    "fork",
    "url",
];

/// An `issue-reference`: what an event says of another issue that is a part of this one, or that this one is a part of.
/// One that does not say where it is belongs to `repo`.
pub(super) fn issue_reference(issue: &Value, repo: &RepoRef) -> Value {
    let whole = match &issue["repository"] {
        Value::Object(repository) => repository.clone(),
        _ => repository(repo),
    };
    let simple = whole.into_iter().filter(|(key, _)| {
        SIMPLE.contains(&key.as_str()) || key == "owner" || REPOSITORY_URLS.iter().any(|(url, _)| url == key)
    });
    let kind = match &issue["type"] {
        Value::Object(kind) => {
            json!({"id": kind["id"], "node_id": kind["node_id"], "name": kind["name"], "color": kind["color"]})
        }
        _ => Value::Null,
    };
    json!({
        "number": issue["number"], "title": issue["title"], "state": issue["state"], "state_reason": issue["state_reason"],
        "repository": simple.collect::<Map<_, _>>(), "issue_type": kind,
    })
}

/// A `full-repository`, as `GET /repos/{owner}/{repo}` answers.
pub(super) fn full_repository(repo: &RepoRef) -> Value {
    let mut object = repository(repo);
    object.extend(map(
        json!({"network_count": 12, "subscribers_count": 25, "organization": owner(repo)}),
    ));
    Value::Object(object)
}

fn owner(repo: &RepoRef) -> Value {
    let mut owner = user(repo.owner());
    owner["type"] = json!("Organization");
    owner
}

/// A freshly opened issue.
pub(super) fn issue(
    repo: &RepoRef,
    number: u64,
    title: &str,
    body: &str,
    author: &str,
    at: &str,
) -> Map<String, Value> {
    let id = repo.id * 1_000_000 + number;
    let url = format!("{}/issues/{number}", repo.url());
    map(json!({
        "url": url, "repository_url": repo.url(), "labels_url": format!("{url}/labels{{/name}}"), "comments_url": format!("{url}/comments"),
        "events_url": format!("{url}/events"), "html_url": format!("{}/issues/{number}", repo.html_url()), "id": id,
        "node_id": format!("I_kwDO{id:08x}"), "number": number, "title": title, "user": user(author), "labels": [], "state": "open",
        "locked": false, "assignee": null, "assignees": [], "milestone": null, "comments": 0, "created_at": at, "updated_at": at,
        "closed_at": null, "author_association": association(author), "type": null, "active_lock_reason": null,
        "sub_issues_summary": {"total": 0, "completed": 0, "percent_completed": 0},
        "issue_dependencies_summary": {"blocked_by": 0, "total_blocked_by": 0, "blocking": 0, "total_blocking": 0},
        "body": body, "closed_by": null, "reactions": reactions(&url, [0, 0, 0]), "timeline_url": format!("{url}/timeline"),
        "performed_via_github_app": null, "state_reason": null,
    }))
}

/// Makes an issue a pull request: GitHub serves both under one number, with a few more fields.
pub(super) fn make_pull_request(issue: &mut Map<String, Value>, repo: &RepoRef, number: u64) {
    let (api, web) = (
        format!("{}/pulls/{number}", repo.url()),
        format!("{}/pull/{number}", repo.html_url()),
    );
    issue.insert("html_url".into(), json!(web));
    issue.insert("draft".into(), json!(false));
    issue.insert(
        "pull_request".into(),
        json!({"url": api, "html_url": web, "diff_url": format!("{web}.diff"), "patch_url": format!("{web}.patch"), "merged_at": null}),
    );
}

/// The members of a JSON object literal.
pub(super) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
