//! The right to settle an attempt, as a program keeps it.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

use crate::job::{Attempt, Fence, JobId, WorkerId};

/// The right to settle one attempt. What records tell of it, a hash, does not give it away.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseToken {
    pub(super) secret: String,
    pub(super) fence: Fence,
    /// Which job it is for: a store that has lost the claim could not tell.
    mark: String,
}

impl LeaseToken {
    pub(super) fn new(secret: String, fence: Fence, id: &JobId) -> Self {
        let mark = Sha256::digest(format!("{secret}.{} {id}", fence.0));
        Self {
            mark: mark[..4].iter().map(|byte| format!("{byte:02x}")).collect(),
            secret,
            fence,
        }
    }

    pub(super) fn holder(secret: &str) -> WorkerId {
        WorkerId::of_lease(&Sha256::digest(secret)[..16])
    }

    pub(super) fn is_for(&self, id: &JobId) -> bool {
        *self == Self::new(self.secret.clone(), self.fence, id)
    }

    pub(super) fn is_of(&self, attempt: &Attempt) -> bool {
        attempt.fence == self.fence && attempt.worker == Self::holder(&self.secret)
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.secret, self.fence.0, self.mark)
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseToken").finish_non_exhaustive()
    }
}

/// Text that is no lease token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a lease token; it is what `lease` says in what haul job pull --print printed")]
pub struct NoToken;

impl FromStr for LeaseToken {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let mut parts = text.split('.');
        let (Some(secret), Some(fence), Some(mark), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoToken);
        };
        let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        if secret.len() != 32 || mark.len() != 8 || !are_digits(secret) || !are_digits(mark) {
            return Err(NoToken);
        }
        Ok(Self {
            secret: secret.to_owned(),
            fence: Fence(fence.parse().map_err(|_| NoToken)?),
            mark: mark.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is_one() {
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let token = LeaseToken::new(secret, Fence(7), &JobId::new());
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        let text = token.to_string();
        assert!(!format!("{token:?}").contains(&text[..32]));
        for wrong in [
            "",
            "..",
            "x.7.y",
            &text[..32],
            &text[1..],
            &format!("{text}x"),
        ] {
            assert_eq!(wrong.parse::<LeaseToken>(), Err(NoToken), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_for_one_job() {
        let (one, other) = (JobId::new(), JobId::new());
        let token = LeaseToken::new("s".repeat(32), Fence(7), &one);
        assert!(token.is_for(&one) && !token.is_for(&other));
    }

    #[test]
    fn a_record_does_not_give_the_right_away() {
        let holder = LeaseToken::holder("secret");
        assert!(holder.is_lease() && holder.parse::<WorkerId>().is_ok());
        assert!(!holder.contains("secret"));
    }
}
