//! Named points at which tests end or freeze a process, to see what survives.

/// Ends the process at once, as `kill -9` would, when `HAUL_CRASH_AT` names this point; freezes it, as
/// `kill -STOP` would, when `HAUL_FREEZE_AT` does. Does nothing unless built with the feature `faults`.
#[inline]
pub fn point(name: &str) {
    #[cfg(feature = "faults")]
    {
        use std::sync::LazyLock;
        static CRASH: LazyLock<Option<String>> =
            LazyLock::new(|| std::env::var("HAUL_CRASH_AT").ok());
        static FREEZE: LazyLock<Option<String>> =
            LazyLock::new(|| std::env::var("HAUL_FREEZE_AT").ok());
        if CRASH.as_deref() == Some(name) {
            std::process::abort();
        }
        if FREEZE.as_deref() == Some(name) {
            // To this very thread: sent to the process, another one may take it, and this one be
            // well past the point before all of them stand still.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
        }
    }
    #[cfg(not(feature = "faults"))]
    let _ = name;
}
