//! Ten bugs that a checker must be able to find: each breaks one promise, where the product keeps
//! it. The model and the chaos suite both plant them, and both must catch them.

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bug {
    /// The delivery of an ended attempt is acknowledged before what follows it is confirmed.
    AckBeforeConfirm,
    /// Whatever the broker says of a publication, it counts as accepted.
    ConfirmIgnored,
    /// The end of an attempt is written whatever fence the record has meanwhile.
    NoFenceOnFinish,
    /// What follows an attempt is published after its delivery was acknowledged.
    PublishAfterAck,
    /// The janitor takes the job that it saw orphaned by its id only, wherever it is by now.
    SweepByIdOnly,
    /// Every worker has the same id.
    WorkerIdReused,
    /// The original is acknowledged, then the guard that stands in for it is published.
    GuardAfterAck,
    /// A job that was cancelled before it started is started all the same.
    CancelForgotten,
    /// A message that comes for an ended job starts it again.
    EndedRunsAgain,
    /// A message whose job seems to run elsewhere is dropped, not put off.
    CopyDropped,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AckBeforeConfirm,
        Self::ConfirmIgnored,
        Self::NoFenceOnFinish,
        Self::PublishAfterAck,
        Self::SweepByIdOnly,
        Self::WorkerIdReused,
        Self::GuardAfterAck,
        Self::CancelForgotten,
        Self::EndedRunsAgain,
        Self::CopyDropped,
    ];

    /// Its name, as `HAUL_PLANT` and reports have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeConfirm => "ack-before-confirm",
            Self::ConfirmIgnored => "confirm-ignored",
            Self::NoFenceOnFinish => "no-fence-on-finish",
            Self::PublishAfterAck => "publish-after-ack",
            Self::SweepByIdOnly => "sweep-by-id-only",
            Self::WorkerIdReused => "worker-id-reused",
            Self::GuardAfterAck => "guard-after-ack",
            Self::CancelForgotten => "cancel-forgotten",
            Self::EndedRunsAgain => "ended-runs-again",
            Self::CopyDropped => "copy-dropped",
        }
    }
}

/// Whether `HAUL_PLANT` names this bug. Never, unless built with the feature `faults`.
#[inline]
pub fn planted(bug: Bug) -> bool {
    #[cfg(feature = "faults")]
    {
        use std::sync::OnceLock;
        static PLANTED: OnceLock<Option<String>> = OnceLock::new();
        PLANTED
            .get_or_init(|| std::env::var("HAUL_PLANT").ok())
            .as_deref()
            == Some(bug.name())
    }
    #[cfg(not(feature = "faults"))]
    {
        let _ = bug;
        false
    }
}
