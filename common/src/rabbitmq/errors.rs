//! From the client library's errors to the port's.

use lapin::ErrorKind;

use super::address::Address;
use crate::{ports::BrokerError, tls::explained};

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const INVALID_PATH: u16 = 402;
const NOT_ALLOWED: u16 = 530;

/// What the broker itself answered, if it was the broker.
fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(said) => Some(said.get_id()),
        _ => None,
    }
}

pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    code(error) == Some(NOT_FOUND)
}

pub(super) fn is_access_refused(error: &lapin::Error) -> bool {
    code(error) == Some(ACCESS_REFUSED)
}

/// A failure to connect.
pub(super) fn of_connecting(address: &Address, error: &lapin::Error) -> BrokerError {
    let cause = match error.kind() {
        ErrorKind::IOError(cause) => Some(&**cause),
        _ => None,
    };
    let at = address.to_string();
    let why = explained(&at, error.to_string(), cause);
    match code(error) {
        Some(ACCESS_REFUSED | NOT_ALLOWED | INVALID_PATH) => BrokerError::Forbidden { at, why },
        _ => BrokerError::Unreachable { at, why },
    }
}

/// A failure of a request about `what`.
pub(super) fn of_request(address: &Address, what: &str, error: &lapin::Error) -> BrokerError {
    let (at, why) = (address.to_string(), error.to_string());
    match code(error) {
        Some(ACCESS_REFUSED | NOT_ALLOWED) => BrokerError::Forbidden { at, why },
        Some(PRECONDITION_FAILED) => BrokerError::Mismatch {
            what: what.to_owned(),
            why,
        },
        Some(_) => BrokerError::Failed {
            at,
            why: format!("{what}: {why}"),
        },
        None => BrokerError::Unreachable { at, why },
    }
}

/// An answer that did not come in time.
pub(super) fn overdue(address: &Address, what: &str) -> BrokerError {
    BrokerError::Unreachable {
        at: address.to_string(),
        why: format!("no answer in time about {what}"),
    }
}
