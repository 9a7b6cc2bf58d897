//! Which items came before, in memory that does not grow: a Bloom filter. It may take a new item
//! for one that came before, in one of 10^8 cases after a million items. Such an item is numbered
//! as a second one of its kind; nothing is lost by that, but when other items come before it in a
//! later `--resume`, it is done again.

/// 8 MiB.
const BITS: u128 = 1 << 26;
const HASHES: u128 = 8;

/// Which items came before.
#[derive(Debug)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    /// Nothing came yet.
    pub(super) fn new() -> Self {
        Self(vec![0; usize::try_from(BITS / 64).unwrap_or(0)])
    }

    /// Notes it; says whether it came before. `hash` must be as good as random.
    pub(super) fn note(&mut self, hash: u128) -> bool {
        let (low, high) = (hash & u128::from(u64::MAX), hash >> 64);
        let mut came = true;
        for n in 0..HASHES {
            let bit = usize::try_from((low + n * (high | 1)) % BITS).unwrap_or(0);
            let mask = 1 << (bit % 64);
            came &= self.0[bit / 64] & mask != 0;
            self.0[bit / 64] |= mask;
        }
        came
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn hash(n: u32) -> u128 {
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(n.to_be_bytes())[..16]);
        u128::from_be_bytes(short)
    }

    #[test]
    fn what_came_is_known_and_what_did_not_is_new() {
        let mut seen = Seen::new();
        assert!((0..50_000).all(|n| !seen.note(hash(n))));
        assert!((0..50_000).all(|n| seen.note(hash(n))));
    }
}
