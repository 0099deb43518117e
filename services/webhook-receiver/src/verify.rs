//! Whether a body was signed by someone who knows one of our secrets.
//!
//! The raw bytes are hashed as they arrive, never a re-serialised form, and every secret is tried to the end, so that
//! the time taken tells nothing about which one matched or how far.

use axum::http::HeaderMap;
use bugstream_kit::secret::Secret;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// GitHub's header; the older `X-Hub-Signature` is SHA-1 and not accepted.
const HEADER: &str = "x-hub-signature-256";

type Code = Hmac<Sha256>;

/// The secrets, ready to check with. Holds at least one, as the configuration demands.
#[derive(Clone)]
pub struct Verifier(Vec<Code>);

/// What a delivery claims as its signature: there, once, and well-formed. Nothing is proved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim([u8; 32]);

/// A signature being computed over a body as it arrives.
pub struct Check {
    codes: Vec<Code>,
    claim: Claim,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({} secrets)", self.0.len())
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Check({} secrets)", self.codes.len())
    }
}

impl Claim {
    /// Reads the signature header; `None` if it is absent, repeated or not `sha256=` with 64 hexadecimal digits.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(HEADER).iter();
        let (only, None) = (values.next()?, values.next()) else {
            return None;
        };
        let mut claim = [0; 32];
        let digits = only.as_bytes().strip_prefix(b"sha256=")?;
        hex::decode_to_slice(digits, &mut claim).ok()?;
        Some(Self(claim))
    }
}

impl Verifier {
    /// Over the secrets in force.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Self {
        let code =
            |secret: &Secret| Code::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
        Self(secrets.iter().map(code).collect())
    }

    /// Begins to check a body against a claim.
    #[must_use]
    pub fn begin(&self, claim: Claim) -> Check {
        Check {
            codes: self.0.clone(),
            claim,
        }
    }
}

impl Check {
    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        for code in &mut self.codes {
            code.update(bytes);
        }
    }

    /// Whether the bytes taken are what the claim was made over, with one of the secrets.
    #[must_use]
    pub fn is_genuine(self) -> bool {
        let claim = self.claim.0;
        let matches = |code: Code| code.finalize().into_bytes().as_slice().ct_eq(&claim);
        let any = self
            .codes
            .into_iter()
            .map(matches)
            .fold(Choice::from(0), |any, one| any | one);
        any.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's own example, from "Validating webhook deliveries".
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn claim(values: &[&str]) -> Option<Claim> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, value.parse().unwrap());
        }
        Claim::read(&headers)
    }

    fn genuine(secrets: &[&str], signature: &str, chunks: &[&[u8]]) -> bool {
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        let mut check = Verifier::new(&secrets).begin(claim(&[signature]).unwrap());
        chunks.iter().for_each(|chunk| check.update(chunk));
        check.is_genuine()
    }

    #[test]
    fn githubs_own_example_is_genuine_however_it_is_cut() {
        assert!(genuine(&[SECRET], SIGNATURE, &[BODY]));
        assert!(genuine(&[SECRET], SIGNATURE, &[b"Hello", b"", b", World!"]));
        assert!(genuine(
            &[SECRET],
            &SIGNATURE.to_uppercase().replace("SHA", "sha"),
            &[BODY]
        ));
    }

    #[test]
    fn any_secret_in_force_is_enough_and_no_other() {
        assert!(genuine(&["new", SECRET], SIGNATURE, &[BODY]));
        assert!(genuine(&[SECRET, "new"], SIGNATURE, &[BODY]));
        assert!(!genuine(&["new", "newer"], SIGNATURE, &[BODY]));
        assert!(!genuine(&[], SIGNATURE, &[BODY]));
    }

    #[test]
    fn one_changed_bit_is_a_forgery() {
        assert!(!genuine(&[SECRET], SIGNATURE, &[b"Hello, World?"]));
        assert!(!genuine(&[SECRET], SIGNATURE, &[b"Hello, World!\n"]));
        assert!(!genuine(&[SECRET], &SIGNATURE.replace("e17", "e16"), &[BODY]));
        assert!(!genuine(&[SECRET], &format!("sha256={}", "0".repeat(64)), &[BODY]));
    }

    #[test]
    fn what_is_no_signature_is_not_even_a_claim() {
        let sha1 = format!("sha1={}", "a".repeat(40));
        let short = &SIGNATURE[..SIGNATURE.len() - 1];
        let long = format!("{SIGNATURE}0");
        let no_hex = SIGNATURE.replace('7', "g");
        for value in ["", "sha256=", &SIGNATURE[7..], &sha1, short, &long, &no_hex] {
            assert_eq!(claim(&[value]), None, "{value:?}");
        }
        assert_eq!(claim(&[]), None);
        assert_eq!(claim(&[SIGNATURE, SIGNATURE]), None, "which of two counts is a guess");
    }
}
