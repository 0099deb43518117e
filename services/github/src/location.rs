//! Where a permanent redirect leads: an address of the same API, checked before anything is sent to it.

use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use crate::error::Error;

/// The target of a 301, at the API's own origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location(Url);

impl Location {
    /// The `location` of an answer to a request for `asked`.
    pub(crate) fn of(headers: &HeaderMap, asked: &Url) -> Result<Self, Error> {
        let value = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let url = value.and_then(|value| asked.join(value).ok());
        let url = url.ok_or_else(|| Error::malformed("a redirect without a readable location"))?;
        if url.origin() != asked.origin() || !url.username().is_empty() || url.password().is_some() {
            return Err(Error::malformed("a redirect to another origin"));
        }
        Ok(Self(url))
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(value: &str) -> Result<Location, Error> {
        let asked = Url::parse("https://api.github.com/repos/o/r/issues/1").unwrap();
        Location::of(&HeaderMap::from_iter([(LOCATION, value.parse().unwrap())]), &asked)
    }

    #[test]
    fn locations_stay_at_the_origin() {
        for value in [
            "https://api.github.com/repositories/5/issues/1",
            "/repositories/5/issues/1",
        ] {
            assert_eq!(
                location(value).unwrap().url().as_str(),
                "https://api.github.com/repositories/5/issues/1"
            );
        }
        for value in [
            "http://api.github.com/x",
            "https://evil.example/x",
            "//evil.example/",
            "https://a@api.github.com/",
            "https://[",
            "file:///etc",
        ] {
            assert!(location(value).is_err(), "{value}");
        }
        assert!(Location::of(&HeaderMap::new(), &Url::parse("https://a/").unwrap()).is_err());
    }
}
