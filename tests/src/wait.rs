//! Bounded waits: a test never sleeps for a while and hopes.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

/// Plenty for anything that should happen at once, on a busy machine.
pub const SOON: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(15);

/// Looks until `look` answers `Ok`, and gives that.
///
/// # Panics
/// Says what was awaited, and what was seen last, when that has not happened within `limit`.
pub async fn eventually<T, D, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, D>>,
    D: Debug,
{
    let end = Instant::now() + limit;
    loop {
        let seen = match look().await {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(
            Instant::now() < end,
            "waited {limit:?} for: {what}; last seen: {seen:?}"
        );
        tokio::time::sleep(POLL).await;
    }
}

/// Looks until `look` answers `wanted`.
///
/// # Panics
/// As [`eventually`].
pub async fn becomes<T, F>(what: &str, wanted: T, mut look: impl FnMut() -> F)
where
    F: Future<Output = T>,
    T: PartialEq + Debug,
{
    let wanted = &wanted;
    eventually(what, SOON, || {
        let seen = look();
        async move {
            let seen = seen.await;
            if seen == *wanted { Ok(()) } else { Err(seen) }
        }
    })
    .await;
}

/// What `future` gives, within [`SOON`].
///
/// # Panics
/// Says what was awaited when that takes longer.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(SOON, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {SOON:?} for: {what}"),
    }
}
