//! Lets tests in to what reads messages. Only there with the feature `faults`.

use lapin::BasicProperties;

use super::{convert, management};
use crate::{ports::Finding, wire::Head};

/// What is read of the properties of a message that came.
pub fn head(properties: &BasicProperties) -> Head {
    convert::head(properties)
}

/// The properties of a message that is sent.
///
/// # Errors
/// When AMQP cannot carry it.
pub fn properties(head: &Head) -> Result<BasicProperties, String> {
    convert::outgoing(head)
}

/// Reads the broker's URL.
///
/// # Errors
/// When it is none.
pub fn address(url: &str) -> Result<String, String> {
    super::address::Address::parse(url)
        .map(|address| address.to_string())
        .map_err(|error| error.to_string())
}

/// Washes the payload of a header's frame, as what comes from the broker is.
pub fn wash(payload: &mut [u8]) {
    super::wash::wash(super::wash::HEADER, payload);
}

/// What is told of a cluster whose management API answers this, to any question.
///
/// # Errors
/// When it is no such answer.
pub fn management(answer: &str) -> Result<Vec<Finding>, String> {
    management::read(answer)
}
