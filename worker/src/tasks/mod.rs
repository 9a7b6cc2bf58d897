//! Tasks that every worker can do without a line of code.

pub mod echo;
pub mod http;
pub mod shell;

use std::sync::Arc;

use haul_common::job::Task;

use self::shell::{Runner, ScriptRun, ShellRules, ShellRun};
use crate::handler::Registry;

/// Whether jobs may run programs of their own choice on this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// They may: whoever can publish to its queues can run anything as the worker's user.
    Allowed,
    /// They may not: such a job is dead with reason `rejected`.
    Refused,
}

pub(crate) fn register(registry: &mut Registry, rules: ShellRules, embedded: bool) {
    registry.add(Arc::new(()), echo::run);
    if !registry.contains(http::HttpRequest::NAME) {
        let mut http = http::Http::default();
        if embedded {
            // Whoever can write to a file of this host reaches its loopback anyway.
            http = http.allow("loopback");
        }
        // No file is named, so that nothing can be wrong.
        let _ = register_http(registry, http);
    }
    if !rules.runs_programs() {
        registry.reject(
            ShellRun::NAME,
            "this worker does not run programs of a job's choice; start it with --allow-program \
             NAME for those that jobs may run, or with --allow-shell if everybody who can publish \
             to its queues may run anything here",
        );
    }
    if !rules.scripts {
        registry.reject(
            ScriptRun::NAME,
            "this worker does not run stored scripts; start it with --allow-scripts if whoever \
             can store one may run it here",
        );
    }
    let (programs, scripts) = (rules.runs_programs(), rules.scripts);
    let runner = Arc::new(Runner::new(rules, embedded));
    if programs {
        registry.add(runner.clone(), shell::run);
    }
    if scripts {
        registry.add(runner, shell::run_script);
    }
}

/// # Errors
/// When a setting is wrong, or a file that it names.
pub(crate) fn register_http(registry: &mut Registry, http: http::Http) -> Result<(), String> {
    registry.add(Arc::new(http::Client::new(http)?), http::run);
    Ok(())
}
