//! Signatures, by which a receiver knows that a request comes from this fleet.
//!
//! HMAC-SHA256 over `<Haul-Job-Id> LF <t> LF <body>`, in hexadecimal, one for each key: while keys
//! are being exchanged, there are two. A line feed is in neither id nor time, so that the parts
//! cannot be taken for others.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Most keys that sign at the same time.
pub(super) const KEYS_MAX: usize = 2;
const KEY_BYTES_MIN: usize = 16;

/// A key, which nothing prints.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Blanks around it do not count: files end with a line feed.
    ///
    /// # Errors
    /// When it is too short to be secret.
    pub(super) fn new(secret: &[u8]) -> Result<Self, String> {
        let secret = secret.trim_ascii();
        let why = || {
            format!(
                "a key to sign with has {} bytes, it must have {KEY_BYTES_MIN}; make one with: \
                 openssl rand -hex 32",
                secret.len()
            )
        };
        if secret.len() < KEY_BYTES_MIN {
            return Err(why());
        }
        Hmac::new_from_slice(secret).map(Self).map_err(|_| why())
    }

    fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}\n{seconds}\n").as_bytes());
        mac.update(body);
        let hex = |byte: u8| format!("{byte:02x}");
        mac.finalize().into_bytes().into_iter().map(hex).collect()
    }
}

/// The value of `Haul-Signature`; nothing without a key.
pub(super) fn signature(keys: &[Key], id: &str, seconds: u64, body: &[u8]) -> Option<String> {
    let mut value = format!("t={seconds}");
    for key in keys {
        value.push_str(",v1=");
        value.push_str(&key.sign(id, seconds, body));
    }
    (!keys.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From: printf 'job.1\n1700000000\n{"n":1}' | openssl dgst -sha256 -hmac KEY
    #[test]
    fn a_signature_is_what_others_make_of_it() {
        let keys = ["0123456789abcdef", "fedcba9876543210\n"];
        let keys = keys.map(|key| Key::new(key.as_bytes()).unwrap());
        assert_eq!(
            signature(&keys, "job.1", 1_700_000_000, br#"{"n":1}"#).unwrap(),
            concat!(
                "t=1700000000",
                ",v1=ba315e0c0aadd9e8bf2f05a3e7b65c4a000a2231873ea62d165aa068261b9032",
                ",v1=79e01880b419bc8f3eebcad54d82181a8b182ad31acf77f0a1d774df4506f9e1",
            )
        );
        assert_eq!(signature(&[], "job.1", 0, b""), None);
    }

    #[test]
    fn a_short_key_is_none_and_no_key_is_printed() {
        let why = Key::new(b"  too short \n").unwrap_err();
        assert!(
            why.contains("9 bytes") && !why.contains("too short"),
            "{why}"
        );
        let key = Key::new(b"0123456789abcdef").unwrap();
        assert_eq!(format!("{key:?}"), "Key(…)");
    }
}
