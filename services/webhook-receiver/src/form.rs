//! What the headers of a delivery say, and its payload out of the form that it came in.

use std::borrow::Cow;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bugstream_github::webhook::{self, Head};

/// Why a genuine delivery is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither of the two forms that GitHub sends.
    #[error("the content type must be application/json or application/x-www-form-urlencoded")]
    ContentType,
    /// A header that is not what GitHub sends.
    #[error("the header {0} is malformed")]
    Header(&'static str),
    /// A form without its one field.
    #[error("the form has no field \"payload\"")]
    Form,
    /// What the headers or the payload say is impossible.
    #[error(transparent)]
    Delivery(#[from] webhook::Malformed),
}

/// A delivery: what it says of itself, and its payload as JSON.
///
/// # Errors
/// [`Malformed`] if it is not as GitHub sends it.
pub fn unwrap<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<(Head, Cow<'a, [u8]>), Malformed> {
    let is_form = is_form(headers)?;
    let head = head(headers)?;
    let payload = if is_form { field(body)? } else { Cow::Borrowed(body) };
    Ok((head, payload))
}

fn head(headers: &HeaderMap) -> Result<Head, Malformed> {
    let event = text(headers, "x-github-event")?.unwrap_or_default();
    let delivery_id = text(headers, "x-github-delivery")?.unwrap_or_default();
    let hook_id = text(headers, "x-github-hook-id")?.map_or(Ok(0), str::parse);
    let hook_id = hook_id.map_err(|_| Malformed::Header("x-github-hook-id"))?;
    Ok(Head::new(event, delivery_id, hook_id)?)
}

fn is_form(headers: &HeaderMap) -> Result<bool, Malformed> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(false),
        "application/x-www-form-urlencoded" => Ok(true),
        _ => Err(Malformed::ContentType),
    }
}

fn field(body: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    let mut fields = form_urlencoded::parse(body);
    let (_, payload) = fields.find(|(name, _)| name == "payload").ok_or(Malformed::Form)?;
    Ok(match payload {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Malformed> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| Malformed::Header(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = axum::http::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        pairs.collect()
    }

    fn of_issue(content_type: &str) -> HeaderMap {
        headers(&[
            ("content-type", content_type),
            ("x-github-event", "issues"),
            ("x-github-delivery", "72d3162e"),
            ("x-github-hook-id", "77"),
        ])
    }

    #[test]
    fn json_is_taken_as_it_is() {
        for content_type in [JSON, "Application/JSON; charset=utf-8"] {
            let head = Head::new("issues", "72d3162e", 77).unwrap();
            let unwrapped = unwrap(&of_issue(content_type), b"{}");
            assert_eq!(unwrapped, Ok((head, Cow::Borrowed(b"{}".as_slice()))));
        }
    }

    #[test]
    fn a_form_carries_the_same_payload() {
        let payload = r#"{"a": "b & c", "d": "\u00e4+%"}"#;
        let form: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("other", "x")
            .append_pair("payload", payload)
            .finish();
        let (_, unwrapped) = unwrap(&of_issue(FORM), form.as_bytes()).unwrap();
        assert_eq!(unwrapped, payload.as_bytes());
        assert_eq!(unwrap(&of_issue(FORM), payload.as_bytes()), Err(Malformed::Form));
        let (_, empty) = unwrap(&of_issue(FORM), b"payload=").unwrap();
        assert!(empty.is_empty());
    }

    #[test]
    fn a_sender_without_hook_and_delivery_id_is_heard_too() {
        let few = headers(&[("content-type", JSON), ("x-github-event", "issues")]);
        let (head, _) = unwrap(&few, b"{}").unwrap();
        assert_eq!(head, Head::new("issues", "", 0).unwrap());
    }

    #[test]
    fn headers_that_github_does_not_send_are_refused() {
        let hook = Malformed::Header("x-github-hook-id");
        for (name, value, expected) in [
            ("content-type", "text/plain", Malformed::ContentType),
            ("content-type", "", Malformed::ContentType),
            ("x-github-event", "", webhook::Malformed::Event.into()),
            ("x-github-event", "is sues", webhook::Malformed::Event.into()),
            ("x-github-event", "iss\u{fc}es", Malformed::Header("x-github-event")),
            ("x-github-delivery", "a b", webhook::Malformed::DeliveryId.into()),
            ("x-github-hook-id", "-1", hook.clone()),
            ("x-github-hook-id", "18446744073709551616", hook.clone()),
        ] {
            let mut changed = of_issue(JSON);
            changed.insert(name, value.parse().unwrap());
            assert_eq!(unwrap(&changed, b"{}"), Err(expected), "{name}: {value:?}");
        }
        let without_event = headers(&[("content-type", JSON)]);
        assert_eq!(unwrap(&without_event, b"{}"), Err(webhook::Malformed::Event.into()));
        let without_type = headers(&[("x-github-event", "issues")]);
        assert_eq!(unwrap(&without_type, b"{}"), Err(Malformed::ContentType));
    }
}
