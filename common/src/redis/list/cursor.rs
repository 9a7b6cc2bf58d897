//! A place in the order of all jobs: newest first, and by id within a millisecond.

use std::{fmt, str::FromStr};

/// The place of one job. The greatest comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::redis) struct Cursor {
    /// When it was created, in milliseconds.
    pub(super) created: i64,
    pub(super) id: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.created, self.id)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.split_once(':');
        let place = place.and_then(|(ms, id)| Some((ms.parse().ok()?, id.to_owned())));
        let (created, id) = place.ok_or("that is not where a page of a list ended")?;
        Ok(Self { created, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_shown() {
        let cursor = Cursor {
            created: 1_800_000_000_000,
            id: "a.b-c".into(),
        };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for wrong in ["", "1800", "x:y", ":y"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn newer_is_greater_and_ids_decide_ties_bytewise() {
        let at = |text: &str| text.parse::<Cursor>().unwrap();
        assert!(at("10:a") > at("9:z"));
        assert!(at("10:b") > at("10:a"));
        assert!(
            at("10:a") > at("10:B"),
            "as the server orders members of one score"
        );
    }
}
