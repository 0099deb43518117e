//! Which issues of the public repository a text of its private partner names.
//!
//! As GitHub makes cross-references of them: `owner/repo#n`, or an issue's URL on whatever host.

use bugstream_proto::{IssueId, RepoName};

/// So many issues are downloaded for one delivery at most: a text with a thousand names must not cause as many requests.
pub(super) const MOST: usize = 10;

/// The first [`MOST`] different issues of `public` that the texts name, in their order.
pub(super) fn of(texts: &[String], public: &[&RepoName]) -> Vec<IssueId> {
    let mut found = Vec::new();
    for issue in texts.iter().flat_map(|text| words(text)).filter_map(issue) {
        if public.contains(&issue.repo()) && !found.contains(&issue) {
            found.push(issue);
        }
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// What stands between characters that neither form has.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_./:#?=&%".contains(c)))
}

fn issue(word: &str) -> Option<IssueId> {
    match word.rsplit_once("://") {
        Some((_, url)) => of_url(url),
        None => of_name(word),
    }
}

/// `host/owner/repo/issues/n`, and whatever follows.
fn of_url(url: &str) -> Option<IssueId> {
    let mut parts = url.splitn(5, '/');
    let (_host, owner, repo) = (parts.next()?, parts.next()?, parts.next()?);
    let number = (parts.next()? == "issues").then(|| parts.next())??;
    numbered(RepoName::new(owner, repo).ok()?, number)
}

/// `owner/repo#n`, after a colon or nothing.
fn of_name(word: &str) -> Option<IssueId> {
    let (repo, number) = word.split_once('#')?;
    let repo = repo.rsplit(':').next()?.parse().ok()?;
    numbered(repo, number)
}

/// A number up to the first character that is no digit, unless that makes it part of a longer word.
fn numbered(repo: RepoName, text: &str) -> Option<IssueId> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    ends.then(|| repo.issue(IssueId::parse_number(number).ok()?).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let public = "webcompat/web-bugs".parse().unwrap();
        let issues = of(&[text.to_owned()], &[&public]);
        issues.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_forms_are_found_wherever_they_stand() {
        for text in [
            "webcompat/web-bugs#7",
            "WebCompat/Web-Bugs#7.",
            "see (webcompat/web-bugs#7), please",
            "Public:webcompat/web-bugs#7\r\n",
            "**webcompat/web-bugs#7**",
            "\u{201c}webcompat/web-bugs#7\u{201d}",
            "https://github.com/webcompat/web-bugs/issues/7",
            "http://ghes.example:8443/webcompat/web-bugs/issues/7/",
            "<!-- @public_url: https://github.com/webcompat/web-bugs/issues/7 -->",
            "[title](https://github.com/webcompat/web-bugs/issues/7#issuecomment-99).",
            "<https://github.com/webcompat/web-bugs/issues/7?x=https>",
            "https://github.com/webcompat/web-bugs/issues/7.",
            "from:https://github.com/webcompat/web-bugs/issues/7,https://example.org/",
        ] {
            assert_eq!(found(text), ["webcompat/web-bugs#7"], "{text}");
        }
    }

    #[test]
    fn what_names_no_public_issue_is_passed_over() {
        for text in [
            "",
            "#7",
            "web-bugs#7",
            "other/web-bugs#7",
            "webcompat/web-bugs-private#7",
            "my-webcompat/web-bugs#7",
            "x/webcompat/web-bugs#7",
            "webcompat/web-bugs #7",
            "webcompat/web-bugs#",
            "webcompat/web-bugs#0",
            "webcompat/web-bugs#7th",
            "webcompat/web-bugs#7_1",
            "webcompat/web-bugs#9007199254740992",
            "webcompat/web-bugs#1180591620717411303424",
            "https://github.com/webcompat/web-bugs/pull/7",
            "https://github.com/webcompat/web-bugs/issues/",
            "https://github.com/webcompat/web-bugs/issues/new",
            "https://github.com/webcompat/web-bugs/issues/7th",
            "https://github.com/other/web-bugs/issues/7",
            "https://example.org/github.com/webcompat/web-bugs/issues/7",
            "https://example.org/?at=webcompat/web-bugs/issues/7",
            "github.com/webcompat/web-bugs/issues/7",
            "://",
            "://///",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn many_are_the_first_ten_different_ones_in_their_order() {
        let text: String = (1..100).map(|n| format!("webcompat/web-bugs#{} ", n / 2 + 1)).collect();
        let expected: Vec<_> = (1..=10).map(|n| format!("webcompat/web-bugs#{n}")).collect();
        assert_eq!(found(&text), expected);
    }
}
