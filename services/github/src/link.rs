//! The next page, from the `Link` header (RFC 8288).
//!
//! A header that cannot be read is an error: taken for absent it would make a shorter timeline.

use std::collections::HashSet;

use reqwest::header::{HeaderMap, LINK};
use url::Url;

use crate::error::Error;

/// A timeline of this many pages has 100,000 events; GitHub's own lists end far below.
const MOST_PAGES: usize = 1_000;

/// The pages of one answer: all of the same list, none twice.
#[derive(Debug)]
pub(crate) struct Pages {
    base: Url,
    path: String,
    seen: HashSet<Url>,
}

impl Pages {
    /// The list that begins at `first`, of the API at `base`.
    pub(crate) fn new(base: &Url, first: &Url) -> Self {
        Self {
            base: base.clone(),
            path: first.path().to_owned(),
            seen: HashSet::from([first.clone()]),
        }
    }

    /// The page after the one with these headers; `None` after the last.
    pub(crate) fn next(&mut self, headers: &HeaderMap) -> Result<Option<Url>, Error> {
        let Some(next) = target(headers, "next")? else {
            return Ok(None);
        };
        let url = Url::parse(&next).map_err(|_| Error::malformed("the next page's address is none"))?;
        if url.origin() != self.base.origin() {
            return Err(Error::malformed("the next page is at another origin"));
        }
        if !self.is_same_list(url.path()) {
            return Err(Error::malformed("the next page is of another list"));
        }
        self.visit(url).map(Some)
    }

    /// A page that is about to be asked for.
    pub(crate) fn visit(&mut self, url: Url) -> Result<Url, Error> {
        if !self.seen.insert(url.clone()) || self.seen.len() > MOST_PAGES {
            return Err(Error::malformed("the pages do not end"));
        }
        Ok(url)
    }

    /// GitHub names pages by the repository's id where they were asked for by name:
    /// `/repos/o/r/issues/1/timeline` goes on at `/repositories/5/issues/1/timeline`.
    fn is_same_list(&self, path: &str) -> bool {
        path.eq_ignore_ascii_case(&self.path)
            || matches!((self.tail(path), self.tail(&self.path)), (Some(a), Some(b)) if a == b)
    }

    /// What follows the repository.
    fn tail<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.base.path())?.trim_start_matches('/');
        if let Some(rest) = rest.strip_prefix("repositories/") {
            let (id, tail) = rest.split_once('/')?;
            return id.parse::<u64>().ok().map(|_| tail);
        }
        rest.strip_prefix("repos/")?.splitn(3, '/').nth(2)
    }
}

/// The last page's address, where the answer says which one is the last.
pub(crate) fn last(headers: &HeaderMap) -> Result<Option<String>, Error> {
    target(headers, "last")
}

/// The target of the first link that has this relation.
fn target(headers: &HeaderMap, relation: &str) -> Result<Option<String>, Error> {
    for value in headers.get_all(LINK) {
        let value = value.to_str().map_err(|_| unreadable())?;
        for link in links(value)? {
            if link.is(relation) {
                return Ok(Some(link.target.to_owned()));
            }
        }
    }
    Ok(None)
}

struct Link<'a> {
    target: &'a str,
    parameters: &'a str,
}

/// Splits `<target>; rel="next", <…>; …`. Targets may have commas and semicolons of their own.
fn links(mut value: &str) -> Result<Vec<Link<'_>>, Error> {
    let mut links = Vec::new();
    while !value.trim_start_matches([',', ' ', '\t']).is_empty() {
        let rest = value
            .trim_start_matches([',', ' ', '\t'])
            .strip_prefix('<')
            .ok_or_else(unreadable)?;
        let (target, rest) = rest.split_once('>').ok_or_else(unreadable)?;
        let end = end_of_parameters(rest);
        links.push(Link {
            target,
            parameters: &rest[..end],
        });
        value = &rest[end..];
    }
    Ok(links)
}

/// Up to the first comma outside quotes.
fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    let ends = |(at, c): (usize, char)| {
        quoted ^= c == '"';
        (c == ',' && !quoted).then_some(at)
    };
    text.char_indices().find_map(ends).unwrap_or(text.len())
}

impl Link<'_> {
    fn is(&self, relation: &str) -> bool {
        self.parameters
            .split(';')
            .filter_map(|parameter| parameter.split_once('='))
            .any(|(name, value)| {
                let relations = value.trim().trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.split(' ').any(|one| one.eq_ignore_ascii_case(relation))
            })
    }
}

fn unreadable() -> Error {
    Error::malformed("the Link header cannot be read")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(links: &[&'static str]) -> HeaderMap {
        links
            .iter()
            .map(|link| (LINK, HeaderValue::from_static(link)))
            .collect()
    }

    #[test]
    fn the_next_link_is_found_as_servers_write_it() {
        let table: &[(&[&'static str], Option<&str>)] = &[
            (&[], None),
            (&[""], None),
            (&[r#"<https://a/?page=2>; rel="next""#], Some("https://a/?page=2")),
            (
                &[
                    r#"<https://a/?page=1>; rel="prev", <https://a/?page=3>; rel="next", <https://a/?page=9>; rel="last""#,
                ],
                Some("https://a/?page=3"),
            ),
            (
                &[r#"<https://a/?page=1>; rel="first",<https://a/?page=8>; rel="prev""#],
                None,
            ),
            (&["<https://a/?x=1,2;3>;rel=next"], Some("https://a/?x=1,2;3")),
            (&[r#"<https://a/>; title="a, rel=next"; rel="last""#], None),
            (&[r#"<https://a/>; REL="last NEXT""#], Some("https://a/")),
            (
                &[r#"<https://a/1>; rel="prev""#, r#"<https://a/3>; rel="next""#],
                Some("https://a/3"),
            ),
            (&[r#"<https://a/>; rel="nextish"; x"#], None),
        ];
        for (links, want) in table {
            assert_eq!(target(&headers(links), "next").unwrap().as_deref(), *want, "{links:?}");
        }
    }

    #[test]
    fn an_unreadable_header_is_an_error() {
        for link in [
            r#"https://a/; rel="next""#,
            "<https://a/",
            "garbage",
            r#"<https://a/>; rel="prev", https://b/"#,
        ] {
            assert!(target(&headers(&[link]), "next").is_err(), "{link}");
        }
    }

    fn follow(first: &str, link: &'static str) -> Result<Option<Url>, Error> {
        let base = Url::parse("https://api.github.com/").unwrap();
        Pages::new(&base, &base.join(first).unwrap()).next(&headers(&[link]))
    }

    #[test]
    fn only_pages_of_the_same_list_are_followed() {
        let first = "repos/o/r/issues/1/timeline?per_page=100";
        let good = [
            r#"<https://api.github.com/repos/o/r/issues/1/timeline?page=2>; rel="next""#,
            r#"<https://api.github.com/repos/O/R/issues/1/timeline?page=2>; rel="next""#,
            r#"<https://api.github.com/repositories/5/issues/1/timeline?page=2>; rel="next""#,
        ];
        for link in good {
            assert!(follow(first, link).unwrap().is_some(), "{link}");
        }
        let bad = [
            r#"<https://evil.example/repos/o/r/issues/1/timeline?page=2>; rel="next""#,
            r#"<http://api.github.com/repos/o/r/issues/1/timeline?page=2>; rel="next""#,
            r#"<https://api.github.com:444/repos/o/r/issues/1/timeline?page=2>; rel="next""#,
            r#"<https://api.github.com/repos/o/r/issues/2/timeline?page=2>; rel="next""#,
            r#"<https://api.github.com/repositories/5/issues/2/timeline?page=2>; rel="next""#,
            r#"<https://api.github.com/repositories/x/issues/1/timeline?page=2>; rel="next""#,
            r#"<https://api.github.com/repos/o/r/issues/1/timeline?per_page=100>; rel="next""#,
            r#"</repos/o/r/issues/1/timeline?page=2>; rel="next""#,
        ];
        for link in bad {
            assert!(matches!(follow(first, link), Err(Error::Malformed { .. })), "{link}");
        }
    }

    #[test]
    fn pages_that_lead_back_or_never_end_are_an_error() {
        let base = Url::parse("https://ghe.example/api/v3/").unwrap();
        let mut pages = Pages::new(&base, &base.join("repos/o/r/issues").unwrap());
        let page = |n: usize| {
            let link = format!(r#"<https://ghe.example/api/v3/repositories/7/issues?page={n}>; rel="next""#);
            HeaderMap::from_iter([(LINK, link.parse().unwrap())])
        };
        for n in 2..=MOST_PAGES {
            assert!(pages.next(&page(n)).unwrap().is_some());
        }
        assert!(pages.next(&page(MOST_PAGES + 1)).is_err());
        let mut pages = Pages::new(&base, &base.join("repos/o/r/issues").unwrap());
        assert!(pages.next(&page(2)).is_ok());
        assert!(pages.next(&page(2)).is_err());
    }
}
