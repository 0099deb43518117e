//! Who asks. One personal access token or nobody; several tokens and Apps would be chosen here, one a request.

use bugstream_kit::secret::Secret;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

/// What authorises requests.
#[derive(Debug, Default)]
pub(crate) struct Credentials(Option<HeaderValue>);

impl Credentials {
    /// `None` if the token has characters that no header can carry.
    pub(crate) fn new(token: Option<&Secret>) -> Option<Self> {
        let Some(token) = token else { return Some(Self(None)) };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
        value.set_sensitive(true);
        Some(Self(Some(value)))
    }

    pub(crate) fn authorise(&self, headers: &mut HeaderMap) {
        if let Some(value) = &self.0 {
            headers.insert(AUTHORIZATION, value.clone());
        }
    }
}
