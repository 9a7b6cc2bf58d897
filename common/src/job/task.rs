//! The typed face of a task.

use serde::{Serialize, de::DeserializeOwned};

/// The arguments of a task, typed: implement it on the struct that a producer submits and that a
/// handler receives.
///
/// ```
/// use haul_common::job::Task;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Greet { name: String }
/// impl Task for Greet {
///     const NAME: &'static str = "greet";
///     type Output = String;
/// }
/// ```
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// The task's name on the wire; lower-case letters, digits, `_`, `.`, `-`.
    const NAME: &'static str;
    /// The queue that its jobs go to unless the submitter names another.
    const QUEUE: &'static str = "default";
    /// What a successful attempt returns.
    type Output: Serialize + DeserializeOwned + Send + 'static;
}
