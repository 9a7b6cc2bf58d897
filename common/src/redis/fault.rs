//! What the server's errors mean for a job system.

use std::{error::Error, io, sync::Arc};

use ::redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use crate::{ports::StoreError, tls::explained};

/// Codes of a server that is there and cannot serve for now: it loads, or is not the primary any
/// more. The connection is given up, so that the next one finds the primary.
const AWAY: [&str; 6] = [
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "TRYAGAIN",
];
/// Codes of a record that is not as it was written: only people can mend it. The second is our own.
const CORRUPT: [&str; 2] = ["WRONGTYPE", "CORRUPT"];
const DENIED: [&str; 4] = ["NOAUTH", "WRONGPASS", "NOPERM", "DENIED"];

/// What an error of the client library means.
pub(super) fn of(at: &str, error: &RedisError) -> StoreError {
    let why = explained(at, error.to_string(), cause(error));
    let at = at.to_owned();
    let code = error.code().unwrap_or_default();
    let kind = error.kind();
    if AWAY.contains(&code) {
        return StoreError::Unreachable { at, why };
    }
    if DENIED.contains(&code) || kind == ErrorKind::AuthenticationFailed {
        return StoreError::Forbidden { at, why };
    }
    if CORRUPT.contains(&code) {
        return StoreError::Corrupt { at, why };
    }
    match kind {
        ErrorKind::Io => StoreError::Unreachable { at, why },
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreError::Corrupt { at, why },
        _ => StoreError::Failed { at, why },
    }
}

/// The error of the network that it is, if it is one.
fn cause(error: &RedisError) -> Option<&io::Error> {
    let shared = error
        .source()?
        .downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    shared.downcast_ref()
}

/// The error that a reply is, if it says that the server cannot serve for now.
pub(super) fn not_primary(at: &str, reply: &Value) -> Option<StoreError> {
    let Value::ServerError(error) = reply else {
        return None;
    };
    AWAY.contains(&error.code())
        .then(|| StoreError::Unreachable {
            at: at.to_owned(),
            why: format!("{} {}", error.code(), error.details().unwrap_or_default()),
        })
}

/// Whether the server does not have the script; it forgets them when it starts.
pub(super) fn is_unknown_script(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}
