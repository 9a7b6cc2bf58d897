//! What came back: as the job's result, and as lines of its log.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use haul_common::job::{Json, json};
use http::{HeaderMap, HeaderValue, StatusCode, header::SET_COOKIE};
use serde::{Deserialize, Serialize};

/// Text of this much is kept as text, however much of it JSON has to escape.
const TEXT_BYTES_MAX: usize = 128 * 1024;
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 1024;
/// How much of the body of a refusal is told.
const EXCERPT_CHARS: usize = 300;

/// What came back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The first 64 headers, without cookies; of a long one, the first KiB.
    pub headers: BTreeMap<String, String>,
    /// The body, where it is JSON and whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
    /// The body, where it is other text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body, where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The body was longer than 64 KiB; this is its beginning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) truncated: bool,
}

impl Answer {
    pub(super) fn into_response(self, duration_ms: u64) -> HttpResponse {
        let headers = self
            .shown_headers()
            .map(|(name, value)| (name.to_owned(), value));
        let mut response = HttpResponse {
            status: self.status.as_u16(),
            headers: headers.collect(),
            json: None,
            body: None,
            body_base64: None,
            truncated: self.truncated,
            duration_ms,
        };
        let mut bytes = &self.body[..];
        if self.truncated {
            bytes = whole_characters(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if !self.truncated && is_json(text) => {
                response.json = serde_json::from_str(text).ok();
            }
            Ok(text) if json(text).is_ok_and(|json| json.get().len() <= TEXT_BYTES_MAX) => {
                response.body = (!text.is_empty()).then(|| text.to_owned());
            }
            _ => response.body_base64 = Some(STANDARD.encode(&self.body)),
        }
        response
    }

    fn shown_headers(&self) -> impl Iterator<Item = (&str, String)> {
        let shown = self.headers.iter().filter(|(name, _)| **name != SET_COOKIE);
        let shown = shown.map(|(name, value)| (name.as_str(), text(value)));
        shown.take(HEADERS_MAX)
    }

    /// Status and headers, a line each.
    pub(super) fn head(&self) -> Vec<String> {
        let headers = self
            .shown_headers()
            .map(|(name, value)| format!("  {name}: {value}"));
        headers.collect()
    }

    /// The status, and the beginning of what a refusal says.
    pub(super) fn complaint(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let words: Vec<&str> = body.split_whitespace().collect();
        let excerpt: String = words.join(" ").chars().take(EXCERPT_CHARS).collect();
        if excerpt.is_empty() {
            self.status.to_string()
        } else {
            format!("{}: {excerpt}", self.status)
        }
    }
}

fn text(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    let bytes = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
    String::from_utf8_lossy(bytes).into_owned()
}

/// Nested deeper than a parser follows, it is text: who reads the result could not read it.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok()
}

/// Without the part of a character at its end.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use haul_common::job::BODY_BYTES_MAX;

    use super::*;

    fn response(body: &[u8], truncated: bool) -> HttpResponse {
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", "secret=1".parse().unwrap());
        headers.insert("x-one", HeaderValue::from_bytes(b"\xff1").unwrap());
        let answer = Answer {
            status: StatusCode::OK,
            headers,
            body: Bytes::copy_from_slice(body),
            truncated,
        };
        assert_eq!(answer.head(), ["  x-one: \u{fffd}1"]);
        answer.into_response(7)
    }

    #[test]
    fn a_body_is_kept_as_what_it_is() {
        assert_eq!(
            response(br#"{"a": 1.50}"#, false).json.unwrap().get(),
            r#"{"a": 1.50}"#
        );
        assert_eq!(response(b"{\"a", true).body.unwrap(), "{\"a");
        assert_eq!(response(b"hello", false).body.unwrap(), "hello");
        assert_eq!(response(b"\xff\x00", false).body_base64.unwrap(), "/wA=");
        // Cut within a character, it is text all the same.
        assert_eq!(
            response("né".as_bytes().split_last().unwrap().1, true)
                .body
                .unwrap(),
            "n"
        );
        let empty = response(b"", false);
        assert!(empty.body.is_none() && empty.json.is_none() && empty.body_base64.is_none());
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert_eq!(response(deep.as_bytes(), false).body.unwrap(), deep);
    }

    #[test]
    fn no_body_makes_a_result_that_is_too_large() {
        for body in [
            &[1_u8; 64 * 1024][..],
            &[b'"'; 64 * 1024],
            &[0xff; 64 * 1024],
        ] {
            let result = json(&response(body, true)).unwrap();
            assert!(
                result.get().len() <= BODY_BYTES_MAX - 128 * 1024 + 2048,
                "{}",
                body[0]
            );
        }
    }
}
