//! Pages and their `Link` headers as GitHub writes them: numbered pages for timelines, a cursor for lists.
//!
//! Lists know no last page (`rel="next"` and `rel="prev"` only) and carry `after=<cursor>` beside `page`; who counts
//! pages by himself gets 422 past [`MAX_ROWS`] rows, who follows the cursor does not.

use std::collections::BTreeMap;

/// How far numbered pages reach: rows.
pub(super) const MAX_ROWS: usize = 10_000;

/// A query string, taken apart. A repeated key counts with its last value.
pub(super) type Query = BTreeMap<String, String>;

/// Size and number of the page that was asked for: `per_page` 1 to 100 (30 where it is missing or no number), `page` from 1.
pub(super) fn asked(query: &Query) -> (usize, usize) {
    let number = |key: &str, default: usize| {
        query
            .get(key)
            .and_then(|text| text.parse().ok())
            .filter(|n| *n > 0)
            .unwrap_or(default)
    };
    (number("per_page", 30).min(100), number("page", 1))
}

/// The `Link` header of a numbered page, in GitHub's order (`prev`, `next`, `last`, `first`); none for a single page.
pub(super) fn numbered_links(base: &str, query: &Query, page: usize, last: usize) -> Option<String> {
    let link = |to: usize, rel: &str| {
        format!(
            "<{}>; rel=\"{rel}\"",
            address(base, query, &[("page", &to.to_string())])
        )
    };
    let mut links = Vec::new();
    if page > 1 {
        links.push(link((page - 1).min(last.max(1)), "prev"));
    }
    if page < last {
        links.push(link(page + 1, "next"));
        links.push(link(last, "last"));
    }
    if page > 1 {
        links.push(link(1, "first"));
    }
    (!links.is_empty()).then(|| links.join(", "))
}

/// The `Link` header of a list: the cursor after the last row for `next`, the one before the first row for `prev`.
pub(super) fn cursor_links(
    base: &str,
    query: &Query,
    page: usize,
    next: Option<&str>,
    prev: Option<&str>,
) -> Option<String> {
    let mut plain = query.clone();
    plain.retain(|key, _| key != "after" && key != "before");
    let link = |key: &str, cursor: &str, to: usize| address(base, &plain, &[(key, cursor), ("page", &to.to_string())]);
    let links: Vec<String> = [
        next.map(|cursor| format!("<{}>; rel=\"next\"", link("after", cursor, page + 1))),
        prev.filter(|_| page > 1)
            .map(|cursor| format!("<{}>; rel=\"prev\"", link("before", cursor, page - 1))),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!links.is_empty()).then(|| links.join(", "))
}

fn address(base: &str, query: &Query, set: &[(&str, &str)]) -> String {
    let mut query = query.clone();
    query.extend(set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    format!(
        "{base}?{}",
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query)
            .finish()
    )
}

/// Where a list goes on: the place of a row in its order, so that rows which change meanwhile move nothing else.
pub(super) fn cursor(key: &str, number: u64) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("cursor:v2:{key}:{number}"))
}

/// Key and number of a row from its cursor; none for anything else.
pub(super) fn read_cursor(text: &str) -> Option<(String, u64)> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (key, number) = text.strip_prefix("cursor:v2:")?.rsplit_once(':')?;
    Some((key.to_owned(), number.parse().ok()?))
}
