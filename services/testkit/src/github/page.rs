//! Pages and their `Link` headers as GitHub writes them: numbered pages for timelines, a cursor for lists.
//!
//! Lists know no last page (`rel="next"` and `rel="prev"` only) and carry `after=<cursor>` beside `page`; who counts
//! pages by himself gets 422 past [`MAX_ROWS`] rows, who follows the cursor does not.

/// How far numbered pages reach: rows.
pub(super) const MAX_ROWS: usize = 10_000;

/// A query string, taken apart, in the client's order, which links keep.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The value of a key; the last one, where it is repeated.
    pub(super) fn get(&self, key: &str) -> Option<&String> {
        self.0
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// The same with another value for this key.
    pub(super) fn with(&self, key: &str, value: &str) -> Self {
        let mut pairs = self.0.clone();
        match pairs.iter_mut().find(|(name, _)| name == key) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => pairs.push((key.to_owned(), value.to_owned())),
        }
        Self(pairs)
    }

    fn without(&self, keys: &[&str]) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| !keys.contains(&name.as_str()))
                .cloned()
                .collect(),
        )
    }

    /// The same for another page.
    pub(super) fn at_page(&self, page: usize) -> Self {
        self.with("page", &page.to_string())
    }

    /// The address of `base` with this query.
    pub(super) fn at(&self, base: &str) -> String {
        format!(
            "{base}?{}",
            form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&self.0)
                .finish()
        )
    }
}

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
    let link = |to: usize, rel: &str| format!("<{}>; rel=\"{rel}\"", query.with("page", &to.to_string()).at(base));
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

/// The `Link` header that names nothing but the next page.
pub(super) fn next_link(address: &str) -> String {
    format!("<{address}>; rel=\"next\"")
}

/// The `Link` header of a list: the cursor after the last row for `next`, the one before the first row for `prev`.
pub(super) fn cursor_links(
    base: &str,
    query: &Query,
    page: usize,
    next: Option<&str>,
    prev: Option<&str>,
) -> Option<String> {
    let plain = query.without(&["after", "before"]);
    let link = |key: &str, cursor: &str, to: usize| plain.with(key, cursor).with("page", &to.to_string()).at(base);
    let links: Vec<String> = [
        next.map(|cursor| next_link(&link("after", cursor, page + 1))),
        prev.filter(|_| page > 1)
            .map(|cursor| format!("<{}>; rel=\"prev\"", link("before", cursor, page - 1))),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!links.is_empty()).then(|| links.join(", "))
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
