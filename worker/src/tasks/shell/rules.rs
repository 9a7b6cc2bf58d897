//! What jobs may do on this worker: which programs run, as whom, with what of its environment.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use nix::unistd::{Gid, Group, Uid, User};

use super::{limits::Limits, programs::Programs};
use crate::tasks::Shell;

/// What of a fleet worker's environment its jobs see, unless told otherwise.
const SEEN: &[&str] = &[
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR",
];
/// Where the worker is told about broker and store, with their passwords.
const OWN: &str = "HAUL_";

/// A rule that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A bare name that is nowhere.
    #[error("there is no program `{0}` in this worker's PATH; install it, or give its whole path")]
    NotFound(String),
    /// A path that is no program.
    #[error("`{0}` is not the whole path of a file that this worker may execute")]
    NotAProgram(String),
    /// It runs whatever its arguments say.
    #[error(
        "`{name}` ({what}) runs any command that its arguments say, so that it limits nothing; \
         to allow it all the same, say it twice"
    )]
    Interpreter {
        /// As given.
        name: String,
        /// What it really is.
        what: String,
    },
    /// A variable that jobs never see.
    #[error("`{0}`: variables that begin with HAUL_ are the worker's own, and no job sees them")]
    Secret(String),
    /// No such user or group, or one that this process cannot become.
    #[error("jobs cannot run as `{user}`: {why}")]
    User {
        /// As given.
        user: String,
        /// What is wrong.
        why: String,
    },
}

/// What jobs may do on this worker. [`Shell`] is the short form.
///
/// ```
/// use haul_worker::tasks::shell::ShellRules;
/// let rules = ShellRules::nothing().programs(&["gzip"])?.env(&["PATH", "LC_*"])?;
/// # let _ = rules;
/// # Ok::<_, haul_worker::tasks::shell::RulesError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ShellRules {
    pub(super) programs: Programs,
    pub(in crate::tasks) scripts: bool,
    seen: Option<Vec<String>>,
    settable: Option<Vec<String>>,
    pub(super) limits: Limits,
    pub(super) user: Option<RunAs>,
}

/// As whom programs run.
#[derive(Debug, Clone)]
pub(super) struct RunAs {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// HOME, USER and LOGNAME.
    pub(super) env: Vec<(&'static str, OsString)>,
}

impl ShellRules {
    /// Jobs run nothing here.
    pub fn nothing() -> Self {
        Self {
            programs: Programs::Only(Vec::new()),
            scripts: false,
            seen: None,
            settable: None,
            limits: Limits::NONE,
            user: None,
        }
    }

    /// Whoever can publish to its queues can run anything as the worker's user.
    pub fn anything() -> Self {
        Self {
            programs: Programs::Any,
            scripts: true,
            ..Self::nothing()
        }
    }

    /// Only these programs run, each named by its whole path or as it is found in this worker's
    /// PATH now. Interpreters must be said twice.
    ///
    /// # Errors
    /// When one is not there, or is an interpreter said once.
    pub fn programs<S: AsRef<str>>(mut self, names: &[S]) -> Result<Self, RulesError> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        self.programs = Programs::only(&names)?;
        Ok(self)
    }

    /// Whether stored scripts run.
    #[must_use]
    pub const fn scripts(mut self, allowed: bool) -> Self {
        self.scripts = allowed;
        self
    }

    /// What of the worker's environment a job sees; `LC_*` means all that begin so. Unless said,
    /// it is a short list of harmless ones on a fleet, and everything embedded.
    ///
    /// # Errors
    /// When one is the worker's own.
    pub fn env<S: AsRef<str>>(mut self, names: &[S]) -> Result<Self, RulesError> {
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        if let Some(name) = names.iter().find(|name| name.starts_with(OWN)) {
            return Err(RulesError::Secret(name.clone()));
        }
        self.seen = Some(names);
        Ok(self)
    }

    /// Which variables jobs may set. Unless said, it is all where every program may run, else
    /// none: variables such as `LD_PRELOAD` turn one program into another.
    #[must_use]
    pub fn job_env<S: AsRef<str>>(mut self, names: &[S]) -> Self {
        self.settable = Some(names.iter().map(|name| name.as_ref().to_owned()).collect());
        self
    }

    /// No job gets more than this.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Programs run as `USER` or `USER:GROUP`, names or numbers. Only root can do that.
    ///
    /// # Errors
    /// When there is no such user or group.
    pub fn user(mut self, user: &str) -> Result<Self, RulesError> {
        self.user = Some(RunAs::named(user).map_err(|why| RulesError::User {
            user: user.to_owned(),
            why,
        })?);
        Ok(self)
    }

    /// Whether there is any program that a job may name.
    pub(in crate::tasks) const fn runs_programs(&self) -> bool {
        match &self.programs {
            Programs::Any => true,
            Programs::Only(allowed) => !allowed.is_empty(),
        }
    }

    /// Whether a job may set this variable.
    pub(super) fn may_set(&self, name: &str) -> bool {
        match &self.settable {
            Some(patterns) => patterns.iter().any(|pattern| matches(pattern, name)),
            None => matches!(self.programs, Programs::Any),
        }
    }

    /// What of this process's environment jobs see; nothing means all of it.
    pub(super) fn environment(&self, embedded: bool) -> Option<Vec<(OsString, OsString)>> {
        let standard = || SEEN.iter().map(|name| (*name).to_owned()).collect();
        let seen: Vec<String> = match &self.seen {
            Some(seen) => seen.clone(),
            None if embedded => return None,
            None => standard(),
        };
        let is_seen = |name: &OsStr| {
            let name = name.to_string_lossy();
            !name.starts_with(OWN) && seen.iter().any(|pattern| matches(pattern, &name))
        };
        Some(
            std::env::vars_os()
                .filter(|(name, _)| is_seen(name))
                .collect(),
        )
    }
}

impl From<Shell> for ShellRules {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Allowed => Self::anything(),
            Shell::Refused => Self::nothing(),
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

impl RunAs {
    fn named(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let found = match user.parse() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(user),
        };
        let found = found.map_err(|error| error.to_string())?;
        let uid = match (&found, user.parse()) {
            (Some(found), _) => found.uid.as_raw(),
            (None, Ok(uid)) => uid,
            (None, Err(_)) => return Err(format!("this machine has no user `{user}`")),
        };
        let gid = match (group, &found) {
            (Some(group), _) => group_id(group)?,
            (None, Some(found)) => found.gid.as_raw(),
            (None, None) => return Err("give the group too, as USER:GROUP".to_owned()),
        };
        let own = Uid::effective();
        if !own.is_root() && own.as_raw() != uid {
            return Err("this worker does not run as root, and only root can".to_owned());
        }
        let mut env = Vec::new();
        if let Some(User { name, dir, .. }) = found {
            env = vec![
                ("HOME", PathBuf::into_os_string(dir)),
                ("USER", name.clone().into()),
                ("LOGNAME", name.into()),
            ];
        }
        Ok(Self { uid, gid, env })
    }
}

fn group_id(group: &str) -> Result<u32, String> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    match Group::from_name(group) {
        Ok(Some(found)) => Ok(Gid::as_raw(found.gid)),
        Ok(None) => Err(format!("this machine has no group `{group}`")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_worker_shows_jobs_the_path_and_no_secret() {
        let seen = ShellRules::anything().environment(false).unwrap();
        assert!(seen.iter().any(|(name, _)| name == "PATH"), "{seen:?}");
        // Cargo sets many of these for a test.
        let others = |name: &OsString| name.to_string_lossy().starts_with("CARGO");
        assert!(!seen.iter().any(|(name, _)| others(name)), "{seen:?}");
        assert!(ShellRules::anything().environment(true).is_none());
    }

    #[test]
    fn the_worker_s_own_variables_cannot_be_listed() {
        assert!(ShellRules::anything().env(&["HAUL_BROKER"]).is_err());
        let all = ShellRules::anything().env(&["*"]).unwrap();
        let seen = all.environment(true).unwrap();
        assert!(
            !seen
                .iter()
                .any(|(name, _)| name.to_string_lossy().starts_with(OWN))
        );
    }

    #[test]
    fn where_programs_are_limited_jobs_set_no_variable_unless_it_is_listed() {
        assert!(ShellRules::anything().may_set("LD_PRELOAD"));
        let limited = ShellRules::nothing().programs(&["true"]).unwrap();
        assert!(!limited.may_set("LD_PRELOAD"));
        let listed = limited.job_env(&["MODE", "REGION_*"]);
        assert!(listed.may_set("MODE") && listed.may_set("REGION_EU"));
        assert!(!listed.may_set("MODE2"));
    }

    #[test]
    fn an_unknown_user_is_named() {
        let error = ShellRules::anything().user("no-such-user").unwrap_err();
        assert!(error.to_string().contains("no-such-user"), "{error}");
        let error = ShellRules::anything().user("0:no-such-group").unwrap_err();
        assert!(error.to_string().contains("no-such-group"), "{error}");
    }
}
