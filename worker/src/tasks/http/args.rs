//! What is asked for, and whether it can be sent.

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use haul_common::job::{Failure, Json, Task};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{self, CONTENT_TYPE},
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::result::HttpResponse;

const TIMEOUT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
const HEADERS_MAX: usize = 64;

/// Headers that frame a message, or that Haul sets by itself.
const OURS: [HeaderName; 13] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// What to send.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// `http://…` or `https://…`, without user and password.
    pub url: String,
    /// The method; when absent, `POST` with `json` or `body`, and `GET` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers beside those that Haul sets by itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
    /// The body, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Which answers are a success, one status or a list; any 2xx when absent.
    #[serde(default, skip_serializing_if = "Expect::is_any")]
    pub expect: Expect,
    /// How long the whole answer may take, in milliseconds; 30 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// For how long, in milliseconds, the receiver may put us off at no cost (429, 503, and 202
    /// with `Haul-Poll`); a day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
}

impl Task for HttpRequest {
    const NAME: &'static str = "http.request";
    type Output = HttpResponse;
}

/// Which statuses are a success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "`expect` must be a status, such as 201, or a list of them, such as [200, 404]"
)]
pub enum Expect {
    /// Any 2xx.
    #[default]
    Any,
    /// This one.
    One(u16),
    /// One of these.
    OneOf(Vec<u16>),
}

impl Expect {
    const fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    fn list(&self) -> &[u16] {
        match self {
            Self::Any => &[],
            Self::One(status) => std::slice::from_ref(status),
            Self::OneOf(list) => list,
        }
    }

    /// Whether this answer is a success.
    pub(super) fn takes(&self, status: StatusCode) -> bool {
        match self {
            Self::Any => status.is_success(),
            _ => self.names(status),
        }
    }

    /// Whether this status is named, not just one of the 2xx.
    pub(super) fn names(&self, status: StatusCode) -> bool {
        self.list().contains(&status.as_u16())
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<String> = self.list().iter().map(ToString::to_string).collect();
        f.write_str(&list.join(", "))
    }
}

/// What is sent, of that which the job says.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl HttpRequest {
    pub(super) fn timeout(&self) -> Duration {
        self.timeout_ms.map_or(TIMEOUT, Duration::from_millis)
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience_ms.map_or(PATIENCE, Duration::from_millis)
    }

    /// Checks it as a whole.
    ///
    /// # Errors
    /// Fatal, with the field that is wrong.
    pub(super) fn ask(&self) -> Result<Ask, Failure> {
        let wrong = |field: &str, why: String| Failure::fatal(format!("`{field}`: {why}"));
        let listed = self.expect.list();
        if let Some(status) = listed.iter().find(|status| !(200..=599).contains(*status)) {
            return Err(wrong(
                "expect",
                format!("{status} ends no request; 200 to 599 do"),
            ));
        }
        if !self.expect.is_any() && listed.is_empty() {
            return Err(wrong(
                "expect",
                "the list is empty; leave it out for any 2xx".into(),
            ));
        }
        if self.timeout().is_zero() {
            return Err(wrong(
                "timeout_ms",
                "0 would end every request; leave it out".into(),
            ));
        }
        let url = parse_url(&self.url).map_err(|why| wrong("url", why))?;
        let mut headers = self.headers().map_err(|why| wrong("headers", why))?;
        let (body, kind) = match (&self.json, &self.body) {
            (Some(_), Some(_)) => {
                return Err(wrong("body", "give `json` or `body`, not both".into()));
            }
            (Some(json), None) => (Some(json.get()), "application/json"),
            (None, body) => (body.as_deref(), "text/plain; charset=utf-8"),
        };
        if body.is_some() {
            let kind = HeaderValue::from_static(kind);
            headers.entry(CONTENT_TYPE).or_insert(kind);
        }
        let method = match &self.method {
            None if body.is_some() => Method::POST,
            None => Method::GET,
            Some(name) => parse_method(name).map_err(|why| wrong("method", why))?,
        };
        let body = Bytes::copy_from_slice(body.unwrap_or_default().as_bytes());
        Ok(Ask {
            method,
            url,
            headers,
            body,
        })
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        if self.headers.len() > HEADERS_MAX {
            return Err(format!(
                "{} were given, the limit is {HEADERS_MAX}",
                self.headers.len()
            ));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let read = name.parse::<HeaderName>();
            let name = shown(name);
            let read = read.map_err(|_| format!("`{name}` cannot be the name of a header"))?;
            if OURS.contains(&read) || read.as_str().starts_with("haul-") {
                return Err(format!("`{name}` is set by Haul itself; leave it out"));
            }
            // Not the value itself: it may be a secret.
            let value = value.parse::<HeaderValue>();
            let value = value.map_err(|_| format!("the value of `{name}` cannot be sent"))?;
            headers.insert(read, value);
        }
        Ok(headers)
    }
}

impl Ask {
    /// Asks there what became of it. Who answers at another origin gets none of the job's headers,
    /// which may hold secrets.
    pub(super) fn poll(mut self, at: Url) -> Self {
        if at.origin() != self.url.origin() {
            self.headers.clear();
        }
        self.headers.remove(CONTENT_TYPE);
        Self {
            method: Method::GET,
            url: at,
            headers: self.headers,
            body: Bytes::new(),
        }
    }
}

fn parse_method(name: &str) -> Result<Method, String> {
    match name.to_ascii_uppercase().parse() {
        Ok(Method::CONNECT) => Err("CONNECT asks for a tunnel, which this is not".to_owned()),
        Ok(method) => Ok(method),
        Err(_) => Err(format!(
            "`{}` is no method; write for example POST",
            shown(name)
        )),
    }
}

/// What somebody else named, who may have done so at any length.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// A URL that can be asked.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    let mut url: Url = text
        .parse()
        .map_err(|why| format!("not a URL: {why}; write https://…"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "the scheme is `{}`; it must be http or https",
            shown(url.scheme())
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("user and password do not belong into it; send a header instead".to_owned());
    }
    url.set_fragment(None);
    match url.as_str().parse::<Uri>() {
        Ok(_) => Ok(url),
        Err(why) => Err(format!("cannot be sent: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_reason_repeats_what_was_named_at_any_length() {
        let (long, word) = ("a ".repeat(200_000), "a".repeat(60_000));
        for args in [
            json!({"url": format!("{word}:x")}),
            json!({"url": "http://a/", "method": long}),
            json!({"url": "http://a/", "headers": {long: "x"}}),
            json!({"url": "http://a/", "headers": {word.as_str(): "x\n2"}}),
            json!({"url": "http://a/", "headers": {format!("haul-{word}"): "x"}}),
        ] {
            let args: HttpRequest = serde_json::from_value(args).unwrap();
            let why = args.ask().unwrap_err().message().to_owned();
            assert!(why.len() < 300, "{} bytes: {why:.300}", why.len());
        }
    }
}
