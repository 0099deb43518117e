//! Bodies: all of it, not too much of it, and JSON.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::error::Error;

const SHAPE: &str = "the JSON has another shape";

/// Reads a body to its end. `limit` counts bytes after decompression.
pub(crate) async fn read(mut response: Response, limit: usize) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if whole.len() + chunk.len() > limit {
            return Err(Error::TooLarge { limit });
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Reads what `T` asks for from an object. Checked by hand, since a derived `T` would take an array's elements for its
/// fields.
pub(crate) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    let raw: &RawValue = json(body)?;
    if raw.get().starts_with('{') {
        json(body)
    } else {
        Err(Error::malformed(SHAPE))
    }
}

fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::malformed("it is not UTF-8"))?;
    serde_json::from_str(text).map_err(|error| {
        Error::malformed(match error.classify() {
            Category::Eof => "the JSON is cut short",
            Category::Data => SHAPE,
            Category::Syntax | Category::Io => "it is not JSON",
        })
    })
}

/// The elements of a body that is an array of objects, as received.
pub(crate) fn objects(body: &[u8]) -> Result<Vec<&RawValue>, Error> {
    let elements: Vec<&RawValue> = json(body)?;
    if elements.iter().all(|element| element.get().starts_with('{')) {
        Ok(elements)
    } else {
        Err(Error::malformed("an element of the list is no object"))
    }
}

/// Whether an object has all of these members.
pub(crate) fn has_fields(object: &[u8], names: &[&str]) -> Result<bool, Error> {
    let members: HashMap<Cow<'_, str>, &RawValue> = json(object)?;
    Ok(names.iter().all(|name| members.contains_key(*name)))
}

/// The text of GitHub's error object; `None` for what is none, as the page of a proxy.
pub(crate) fn message(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Failure {
        message: String,
    }
    if !is_json(headers) {
        return None;
    }
    object::<Failure>(body).ok().map(|failure| failure.message)
}

/// Whether the answer says that it is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_so_is_json() {
        let headers = |value: &str| HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
        for value in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.github+json",
        ] {
            assert!(is_json(&headers(value)), "{value}");
        }
        for value in [
            "text/html",
            "text/json",
            "application/jsonp",
            "application/octet-stream",
            "",
        ] {
            assert!(!is_json(&headers(value)), "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_list_is_an_array_of_objects() {
        let numbers = objects(br#"[{"a":1e400}, {"b": 18446744073709551616 }]"#).unwrap();
        assert_eq!(numbers[1].get(), r#"{"b": 18446744073709551616 }"#);
        for (body, why) in [
            ("", "the JSON is cut short"),
            ("[{}", "the JSON is cut short"),
            ("{}", "the JSON has another shape"),
            ("[1]", "an element of the list is no object"),
            ("[{}]x", "it is not JSON"),
            ("<html>", "it is not JSON"),
        ] {
            let error = objects(body.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("the answer is malformed: {why}"), "{body}");
        }
    }
}
