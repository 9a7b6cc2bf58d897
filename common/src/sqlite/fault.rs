//! What can go wrong with the file, before it is told in the words of a port.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::ports::{BrokerError, Confirm, StoreError};

/// Something that went wrong. Cloned when it hits every call of a commit.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    kind: Kind,
    why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Another process has it locked, or we are closed.
    Away,
    /// No room left on the disk.
    Full,
    /// The system does not let us.
    Forbidden,
    /// It is not for us.
    Wrong,
    /// It cannot be read.
    Corrupt,
    /// Reading or writing failed, perhaps half-way.
    Io,
    /// Anything else.
    Failed,
}

impl Fault {
    pub(super) fn closed() -> Self {
        Self {
            kind: Kind::Away,
            why: "it is closed".to_owned(),
        }
    }

    pub(super) fn overdue() -> Self {
        Self {
            kind: Kind::Io,
            why: "no answer in time; look at the load of its disk".to_owned(),
        }
    }

    pub(super) const fn wrong(why: String) -> Self {
        Self {
            kind: Kind::Wrong,
            why,
        }
    }

    pub(super) fn corrupt(what: &str, why: impl std::fmt::Display) -> Self {
        Self {
            kind: Kind::Corrupt,
            why: format!("{what}: {why}"),
        }
    }

    pub(super) const fn failed(why: String) -> Self {
        Self {
            kind: Kind::Failed,
            why,
        }
    }

    /// Another process holds the lock: the commit as a whole is worth another try.
    pub(super) fn is_busy(&self) -> bool {
        self.kind == Kind::Away
    }

    /// It is about the file, so every call of the commit would meet it.
    pub(super) fn is_everyones(&self) -> bool {
        !matches!(self.kind, Kind::Failed | Kind::Corrupt)
    }

    pub(super) fn store(self, path: &Path) -> StoreError {
        let (at, why) = (at(path), self.why);
        match self.kind {
            Kind::Away => StoreError::Unreachable { at, why },
            Kind::Forbidden => StoreError::Forbidden { at, why },
            Kind::Wrong => StoreError::Unsafe { at, why },
            Kind::Corrupt => StoreError::Corrupt { at, why },
            Kind::Full | Kind::Io | Kind::Failed => StoreError::Failed { at, why },
        }
    }

    pub(super) fn broker(self, path: &Path) -> BrokerError {
        let (at, why) = (at(path), self.why);
        match self.kind {
            Kind::Away => BrokerError::Unreachable { at, why },
            Kind::Forbidden => BrokerError::Forbidden { at, why },
            _ => BrokerError::Failed { at, why },
        }
    }

    /// What a publication that met this is told: only a failing disk leaves it open.
    pub(super) fn confirm(self, path: &Path) -> Confirm {
        let said = self.clone().broker(path).to_string();
        match self.kind {
            Kind::Io => Confirm::Unknown(said),
            _ => Confirm::Refused(said),
        }
    }
}

fn at(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let (kind, hint) = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
                Kind::Away,
                "another process keeps it locked; see which one has it open (lsof)",
            ),
            Some(ErrorCode::DiskFull) => (
                Kind::Full,
                "the disk is full; nothing was lost, make room and try again",
            ),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
                Kind::Forbidden,
                "this user must be able to write the file and its directory",
            ),
            Some(ErrorCode::CannotOpen) => (
                Kind::Forbidden,
                "its directory must exist, and this user be able to write there",
            ),
            Some(ErrorCode::NotADatabase) => {
                (Kind::Wrong, "it is not a Haul file; name another file")
            }
            Some(ErrorCode::DatabaseCorrupt) => (
                Kind::Corrupt,
                "restore a copy, or save what is left with `sqlite3 FILE .recover`",
            ),
            Some(ErrorCode::SystemIoFailure) => (Kind::Io, "look at the disk and the system log"),
            _ => return Self::from_other(&error),
        };
        Self {
            kind,
            why: format!("{error}; {hint}"),
        }
    }
}

impl Fault {
    fn from_other(error: &rusqlite::Error) -> Self {
        let kind = match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::InvalidColumnType(..) => Kind::Corrupt,
            _ => Kind::Failed,
        };
        Self {
            kind,
            why: error.to_string(),
        }
    }
}
