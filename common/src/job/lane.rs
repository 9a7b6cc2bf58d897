//! The four priorities of a queue.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One of the four priorities of a queue, highest first in order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Before everything else.
    Critical,
    /// Before normal work.
    High,
    /// Where jobs go that do not say.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Lane {
    /// All lanes, highest first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// The word that stands for it in names, keys, logs and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Place in [`Lane::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no lane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a lane; it is one of critical, high, normal, low")]
pub struct LaneError(String);

impl FromStr for Lane {
    type Err = LaneError;

    fn from_str(text: &str) -> Result<Self, LaneError> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.as_str() == text)
            .ok_or_else(|| LaneError(text.chars().take(80).collect()))
    }
}
