//! What a call to a port fails with: what was tried, what was wrong, what to do.

/// A call to a broker that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// No answer, or none in time.
    #[error("the broker at {at} cannot be reached: {why}")]
    Unreachable {
        /// Where, without its password.
        at: String,
        /// What went wrong.
        why: String,
    },
    /// The broker knows us and says no.
    #[error(
        "the broker at {at} refuses access: {why}; check user, password, virtual host and permissions"
    )]
    Forbidden {
        /// Where, without its password.
        at: String,
        /// What it said.
        why: String,
    },
    /// It has something of the same name with other properties.
    #[error(
        "{what} exists with other properties: {why}; it is left as it is, so rename the namespace, or drain and delete it"
    )]
    Mismatch {
        /// Which queue or exchange.
        what: String,
        /// What it said.
        why: String,
    },
    /// The file or server does what it should not.
    #[error("the broker at {at} failed: {why}")]
    Failed {
        /// Where.
        at: String,
        /// What went wrong.
        why: String,
    },
}

impl BrokerError {
    /// Whether trying again, later, may work.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Failed { .. })
    }
}

/// A call to a store that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No answer, or none in time.
    #[error("the store at {at} cannot be reached: {why}")]
    Unreachable {
        /// Where, without its password.
        at: String,
        /// What went wrong.
        why: String,
    },
    /// It knows us and says no.
    #[error("the store at {at} refuses access: {why}; check user, password and permissions")]
    Forbidden {
        /// Where, without its password.
        at: String,
        /// What it said.
        why: String,
    },
    /// It would lose jobs as it is set up.
    #[error("the store at {at} must not be used as it is: {why}")]
    Unsafe {
        /// Where, without its password.
        at: String,
        /// What to change.
        why: String,
    },
    /// It holds something that cannot be read.
    #[error("the store at {at} holds something unreadable: {why}")]
    Corrupt {
        /// Where.
        at: String,
        /// What.
        why: String,
    },
    /// It answered with an error.
    #[error("the store at {at} failed: {why}")]
    Failed {
        /// Where.
        at: String,
        /// What it said.
        why: String,
    },
}

impl StoreError {
    /// Whether trying again, later, may work.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Failed { .. })
    }
}
