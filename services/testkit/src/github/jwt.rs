//! The JSON web token by which a GitHub App says who it is: RS256, of a life of no more than ten minutes by GitHub's clock.
//!
//! The words of the refusals are GitHub's, as people quote them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;
use time::OffsetDateTime;

use super::app::App;
use super::credentials::Refusal;

/// GitHub's answer to what is no token, or was signed with another key.
pub(super) const UNDECODABLE: Refusal = (401, "A JSON web token could not be decoded");

/// The longest that a token may still live.
const LONGEST_S: i64 = 600;

/// Whether this is the App's token and is good now.
///
/// # Errors
/// The answer to one that is not.
pub(super) fn check(token: &str, app: Option<&App>, now: OffsetDateTime) -> Result<(), Refusal> {
    let claims = part(token, 1)?;
    let app = app.filter(|app| issued_by(&claims, app)).ok_or(NOT_FOUND)?;
    is_signed(token, app)?;
    if part(token, 0)?["alg"] != "RS256" {
        return Err(UNDECODABLE);
    }
    let now = now.unix_timestamp();
    match (claims["iat"].as_i64(), claims["exp"].as_i64()) {
        (_, None) => Err(EXPIRED),
        (_, Some(end)) if end <= now => Err(EXPIRED),
        (_, Some(end)) if end > now + LONGEST_S => Err(TOO_FAR),
        (Some(begin), _) if begin <= now => Ok(()),
        _ => Err(NOT_YET),
    }
}

const NOT_FOUND: Refusal = (404, "Integration not found");
const EXPIRED: Refusal = (
    401,
    "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
);
const TOO_FAR: Refusal = (401, "'Expiration time' claim ('exp') is too far in the future");
const NOT_YET: Refusal = (
    401,
    "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
);

/// `iss` is the App's id, as a number or a text, or its client id.
fn issued_by(claims: &Value, app: &App) -> bool {
    let issuer = &claims["iss"];
    issuer.as_u64() == Some(app.id)
        || issuer
            .as_str()
            .is_some_and(|text| text == app.id.to_string() || text == app.client_id())
}

fn part(token: &str, index: usize) -> Result<Value, Refusal> {
    let bytes = token
        .split('.')
        .nth(index)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or(UNDECODABLE)
}

fn is_signed(token: &str, app: &App) -> Result<(), Refusal> {
    let (signed, signature) = token.rsplit_once('.').ok_or(UNDECODABLE)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| UNDECODABLE)?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, app.public_key())
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| UNDECODABLE)
}
