//! Acknowledgements in groups: what was settled meanwhile, in as few frames as possible.

use std::collections::BTreeSet;

use crate::ports::Verdict;

/// What is told to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// This delivery and every one before it is done.
    AckThrough(u64),
    /// This delivery is done.
    Ack(u64),
    /// This delivery goes back.
    Release(u64),
}

/// Takes what is settled out of `outstanding` (all tags of the channel that the broker waits for)
/// and says what to tell. Only where *every* outstanding tag up to some point is done do they go
/// together: an acknowledgement "and all before" must not touch one that still runs.
pub(super) fn group(outstanding: &mut BTreeSet<u64>, settled: &[(u64, Verdict)]) -> Vec<Frame> {
    let mut done = BTreeSet::new();
    let mut frames = Vec::new();
    for &(tag, verdict) in settled {
        // A tag that is not outstanding was settled before; twice closes the channel.
        match verdict {
            Verdict::Ack if outstanding.contains(&tag) => {
                done.insert(tag);
            }
            Verdict::Release if outstanding.remove(&tag) => {
                done.remove(&tag);
                frames.push(Frame::Release(tag));
            }
            Verdict::Ack | Verdict::Release => {}
        }
    }
    // Releases first: what follows is computed as if they were gone.
    let prefix: Vec<u64> = outstanding
        .iter()
        .copied()
        .take_while(|tag| done.contains(tag))
        .collect();
    match prefix.as_slice() {
        [] => {}
        [only] => frames.push(Frame::Ack(*only)),
        [.., last] => frames.push(Frame::AckThrough(*last)),
    }
    let singles = done.iter().skip(prefix.len());
    frames.extend(singles.map(|tag| Frame::Ack(*tag)));
    outstanding.retain(|tag| !done.contains(tag));
    frames
}
