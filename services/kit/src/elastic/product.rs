//! Whether what answers is an Elasticsearch that we know: 8.19, or 9.

use serde::Deserialize;

/// The oldest that is known to do what we ask.
const OLDEST: (u64, u64) = (8, 19);
/// The newest line that is.
const NEWEST: u64 = 9;

#[derive(Deserialize)]
struct Root {
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    number: String,
    /// Elasticsearch has none.
    distribution: Option<String>,
    build_flavor: Option<String>,
}

/// Judges the answer to `GET /`.
///
/// # Errors
/// What it is instead, for people.
pub(super) fn check(status: u16, answer: &[u8]) -> Result<(), String> {
    let at = "at ELASTIC_NODE ([elasticsearch] node)";
    if status != 200 {
        return Err(format!("what answers {at} says {status}: is it Elasticsearch?"));
    }
    let root: Root = serde_json::from_slice(answer)
        .map_err(|_| format!("what answers {at} is not Elasticsearch: see where it leads"))?;
    let Version {
        number,
        distribution,
        build_flavor,
    } = root.version;
    let number = number.as_str();
    if let Some(other) = distribution {
        return Err(format!(
            "{} {} answers {at}: Elasticsearch 8.19 or 9 is needed",
            word(&other),
            word(number)
        ));
    }
    if build_flavor.as_deref() == Some("serverless") {
        return Err(format!(
            "a serverless Elasticsearch answers {at}: one of version 8.19 or 9 is needed"
        ));
    }
    match parsed(number) {
        Some((major, minor)) if (major, minor) >= OLDEST && major <= NEWEST => Ok(()),
        Some((major, _)) if major > NEWEST => Err(format!(
            "Elasticsearch {} is newer than this version of Bugstream knows: 8.19 or 9 is needed",
            word(number)
        )),
        Some(_) => Err(format!(
            "Elasticsearch {} is too old: 8.19 or 9 is needed",
            word(number)
        )),
        None => Err(format!("what answers {at} is not Elasticsearch: see where it leads")),
    }
}

fn parsed(number: &str) -> Option<(u64, u64)> {
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// A stranger's word, as it may be shown.
fn word(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    text.chars().filter(allowed).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(version: &str) -> Vec<u8> {
        format!(r#"{{"name":"n","version":{{{version}}},"tagline":"You Know, for Search"}}"#).into_bytes()
    }

    #[test]
    fn versions_that_we_know_are_taken_and_everything_else_is_called_by_its_name() {
        for number in ["8.19.0", "8.19.13", "9.0.0", "9.4.3", "9.5.0-SNAPSHOT"] {
            assert_eq!(
                check(200, &root(&format!(r#""number":"{number}""#))),
                Ok(()),
                "{number}"
            );
        }
        let table = [
            (r#""number":"8.18.4""#, "Elasticsearch 8.18.4 is too old"),
            (
                r#""number":"7.17.29","build_flavor":"default""#,
                "Elasticsearch 7.17.29 is too old",
            ),
            (r#""number":"10.0.0""#, "Elasticsearch 10.0.0 is newer"),
            (
                r#""number":"8.11.0","build_flavor":"serverless""#,
                "a serverless Elasticsearch",
            ),
            (
                r#""number":"3.1.0","distribution":"opensearch""#,
                "opensearch 3.1.0 answers",
            ),
            (r#""number":"many""#, "is not Elasticsearch"),
        ];
        for (version, said) in table {
            let why = check(200, &root(version)).unwrap_err();
            assert!(why.starts_with(said) || why.contains(said), "{why}");
        }
        for (status, answer) in [(200, "<html>"), (200, "{}"), (404, "{}"), (200, "[1]")] {
            let why = check(status, answer.as_bytes()).unwrap_err();
            assert!(why.contains("Elasticsearch") && why.contains("ELASTIC_NODE"), "{why}");
        }
    }
}
