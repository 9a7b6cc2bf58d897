//! Tasks that every worker can do without a line of code.

pub mod echo;
pub mod http;
pub mod shell;

use std::sync::Arc;

use haul_common::job::Task;

use crate::handler::Registry;

/// Whether jobs may run programs of their own choice on this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// They may: whoever can publish to its queues can run anything as the worker's user.
    Allowed,
    /// They may not: such a job is dead with reason `rejected`.
    Refused,
}

pub(crate) fn register(registry: &mut Registry, shell: Shell) {
    let nothing = Arc::new(());
    registry.add(nothing.clone(), echo::run);
    if !registry.contains(http::HttpRequest::NAME) {
        // Nothing is set, so that nothing can be wrong.
        let _ = register_http(registry, http::Http::default());
    }
    match shell {
        Shell::Allowed => registry.add(nothing, shell::run),
        Shell::Refused => registry.reject(
            shell::ShellRun::NAME,
            "this worker does not run programs of a job's choice; start it with --allow-shell if \
             everybody who can publish to its queues may run anything here",
        ),
    }
}

/// # Errors
/// When a setting is wrong, or a file that it names.
pub(crate) fn register_http(registry: &mut Registry, http: http::Http) -> Result<(), String> {
    registry.add(Arc::new(http::Client::new(http)?), http::run);
    Ok(())
}
