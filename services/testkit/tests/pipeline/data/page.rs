//! Reading docs/DATA.md: its tables, its lines of KQL, its requests.

use http::Method;
use serde_json::Value;

/// A request of the page.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

/// A row of a table of fields, for one field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) path: String,
    /// Its type in words.
    pub(super) kind: String,
    /// In which index, where the table says.
    pub(super) place: String,
}

pub(super) fn text() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/DATA.md")).unwrap()
}

/// The rows of the tables below a heading: their cells.
fn rows<'a>(page: &'a str, heading: &str) -> impl Iterator<Item = Vec<&'a str>> {
    let (_, below) = page
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading}"));
    let section = below.split("\n#").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .filter(|cells: &Vec<&str>| !cells[0].starts_with("---"))
}

fn in_backticks(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The fields of the tables below a heading.
pub(super) fn fields(page: &str, heading: &str) -> Vec<Field> {
    let of_row = |cells: Vec<&str>| {
        let paths: Vec<String> = in_backticks(cells[0]).flat_map(expanded).collect();
        let (kind, place) = (cells[1].to_owned(), cells[2].trim_matches('`').to_owned());
        paths
            .into_iter()
            .map(move |path| Field {
                path,
                kind: kind.clone(),
                place: place.clone(),
            })
            .collect::<Vec<_>>()
    };
    rows(page, heading).flat_map(of_row).collect()
}

/// `{a,b}.c` is `a.c` and `b.c`.
fn expanded(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let (choices, after) = rest.split_once('}').unwrap();
    choices
        .split(',')
        .flat_map(|choice| expanded(&format!("{before}{choice}{after}")))
        .collect()
}

/// View and line of every KQL example.
pub(super) fn kql(page: &str) -> Vec<(String, String)> {
    let line = |cells: Vec<&str>| {
        let view = in_backticks(cells[0]).next()?.to_owned();
        Some((view, in_backticks(cells[1]).next()?.to_owned()))
    };
    rows(page, "## Kibana").filter_map(line).collect()
}

/// Every request, as Dev Tools and as curl write them.
pub(super) fn requests(page: &str) -> Vec<Request> {
    let blocks = page.split("\n```").skip(1).step_by(2);
    blocks
        .flat_map(|block| match block.split_once('\n') {
            Some(("http", request)) => vec![of_dev_tools(request)],
            Some(("sh", lines)) => lines.lines().map(of_curl).collect(),
            other => panic!("what is in this block? {other:?}"),
        })
        .collect()
}

fn of_dev_tools(block: &str) -> Request {
    let (line, body) = block.split_once('\n').unwrap_or((block, ""));
    let (method, path) = line.split_once(' ').unwrap();
    let body = body.trim();
    let body = (!body.is_empty()).then(|| serde_json::from_str(body).unwrap_or_else(|error| panic!("{body}: {error}")));
    Request {
        method: method.parse().unwrap(),
        path: format!("/{path}"),
        body,
    }
}

fn of_curl(line: &str) -> Request {
    let words = words(line);
    assert_eq!(words[0], "curl", "{line}");
    let url = words
        .iter()
        .find_map(|word| word.strip_prefix("http://127.0.0.1:9200/"))
        .unwrap_or_else(|| panic!("{line}"));
    let after = |option: &str| words.iter().skip_while(|word| *word != option).nth(1);
    let body = after("-d").map(|body| serde_json::from_str(body).unwrap());
    if body.is_some() {
        assert_eq!(
            after("-H").map(String::as_str),
            Some("Content-Type: application/json"),
            "{line}"
        );
    }
    let method = if body.is_some() { Method::POST } else { Method::GET };
    Request {
        method,
        path: format!("/{url}"),
        body,
    }
}

/// The words of a shell's line: in single quotes or without.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    quoted
        .flat_map(|(n, part)| match n % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}
