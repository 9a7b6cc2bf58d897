//! Named points at which tests end a process, to see what survives.

/// Ends the process at once, as `kill -9` would, when `HAUL_CRASH_AT` names this point. Does
/// nothing unless built with the feature `faults`.
#[inline]
pub fn point(name: &str) {
    #[cfg(feature = "faults")]
    {
        use std::sync::OnceLock;
        static AT: OnceLock<Option<String>> = OnceLock::new();
        if AT
            .get_or_init(|| std::env::var("HAUL_CRASH_AT").ok())
            .as_deref()
            == Some(name)
        {
            std::process::abort();
        }
    }
    #[cfg(not(feature = "faults"))]
    let _ = name;
}
