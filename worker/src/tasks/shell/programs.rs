//! Which programs jobs may run, and where a name is looked for.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use haul_common::job::Failure;

use super::rules::RulesError;

/// What runs whatever its arguments say. A list of allowed programs with one of these in it allows
/// everything.
const INTERPRETERS: &[&str] = &[
    "Rscript",
    "R",
    "apt",
    "apt-get",
    "ash",
    "awk",
    "bash",
    "bun",
    "busybox",
    "bwrap",
    "bundle",
    "cargo",
    "chroot",
    "chrt",
    "cmake",
    "cpulimit",
    "csh",
    "dash",
    "deno",
    "docker",
    "doas",
    "dpkg",
    "ed",
    "elvish",
    "emacs",
    "env",
    "erl",
    "ex",
    "expect",
    "fakeroot",
    "find",
    "fish",
    "flock",
    "gawk",
    "gdb",
    "gem",
    "ghc",
    "git",
    "go",
    "groovy",
    "guile",
    "haul",
    "ionice",
    "irb",
    "java",
    "jjs",
    "jruby",
    "jshell",
    "ksh",
    "less",
    "lua",
    "luajit",
    "m4",
    "make",
    "man",
    "mawk",
    "mksh",
    "more",
    "nawk",
    "ncat",
    "nice",
    "node",
    "nodejs",
    "nohup",
    "npm",
    "npx",
    "nsenter",
    "numactl",
    "nvim",
    "ocaml",
    "osascript",
    "parallel",
    "perl",
    "php",
    "pip",
    "pipx",
    "pkexec",
    "podman",
    "prlimit",
    "psql",
    "pwsh",
    "pypy",
    "python",
    "rake",
    "rbash",
    "rlwrap",
    "rsync",
    "ruby",
    "runuser",
    "rview",
    "rvim",
    "scala",
    "scp",
    "screen",
    "script",
    "sed",
    "setarch",
    "setpriv",
    "setsid",
    "sftp",
    "sh",
    "socat",
    "sqlite",
    "ssh",
    "start-stop-daemon",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "tar",
    "taskset",
    "tclsh",
    "tcsh",
    "time",
    "timeout",
    "tmux",
    "toybox",
    "unshare",
    "uv",
    "uvx",
    "valgrind",
    "vi",
    "view",
    "vim",
    "vimdiff",
    "watch",
    "wish",
    "xargs",
    "yash",
    "zip",
    "zsh",
];
/// One program under many names: the name decides.
const MULTI_CALL: &[&str] = &["busybox", "toybox", "coreutils"];

/// Which programs jobs may run.
#[derive(Debug, Clone)]
pub(super) enum Programs {
    /// All of them.
    Any,
    /// Those at these paths; none at all means that jobs run no programs here.
    Only(Vec<PathBuf>),
}

impl Programs {
    /// Looks names up, and refuses interpreters that are said once.
    pub(super) fn only(names: &[&str]) -> Result<Self, RulesError> {
        let mut paths = Vec::with_capacity(names.len());
        for name in names {
            let path = locate(name)?;
            let said = names.iter().filter(|other| *other == name).count();
            if said < 2
                && let Some(what) = interpreter(&path)
            {
                let name = (*name).to_owned();
                return Err(RulesError::Interpreter { name, what });
            }
            paths.push(path);
        }
        Ok(Self::Only(paths))
    }

    /// Whether jobs may bring what they run with them.
    pub(super) fn any(&self, what: &str) -> Result<(), Failure> {
        match self {
            Self::Any => Ok(()),
            Self::Only(allowed) => Err(refused(what, allowed)),
        }
    }

    /// What to execute for the program that a job names.
    pub(super) fn resolve(&self, program: &str) -> Result<PathBuf, Failure> {
        let Self::Only(allowed) = self else {
            return Ok(program.into());
        };
        // A bare name is looked for where the worker looks, never where the job says.
        let path = if program.contains('/') {
            Some(PathBuf::from(program))
        } else {
            in_path(program)
        };
        match path {
            // As text: `/usr/bin/../bin/x` is not `/usr/bin/x`.
            Some(path)
                if allowed
                    .iter()
                    .any(|one| one.as_os_str() == path.as_os_str()) =>
            {
                Ok(path)
            }
            _ => Err(refused(&format!("`{program}`"), allowed)),
        }
    }
}

fn refused(what: &str, allowed: &[PathBuf]) -> Failure {
    let names: Vec<String> = allowed
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Failure::fatal(format!(
        "this worker does not run {what}, but only {}; more can be allowed there with \
         --allow-program",
        names.join(", ")
    ))
}

fn locate(name: &str) -> Result<PathBuf, RulesError> {
    if !name.contains('/') {
        return in_path(name).ok_or_else(|| RulesError::NotFound(name.to_owned()));
    }
    let path = PathBuf::from(name);
    if path.is_absolute() && is_program(&path) {
        Ok(path)
    } else {
        Err(RulesError::NotAProgram(name.to_owned()))
    }
}

/// Looks through this worker's PATH, but for places that depend on where a program runs.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|path| !name.is_empty() && is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What this really is, if it is an interpreter: names may be links.
fn interpreter(path: &Path) -> Option<String> {
    let given = path.file_name().map(OsStr::to_string_lossy)?;
    let real = fs::canonicalize(path).ok()?;
    let real = real.file_name().map(OsStr::to_string_lossy)?;
    let is_one_of_many = MULTI_CALL.contains(&&*real) && given != real;
    if is_interpreter(&given) || (is_interpreter(&real) && !is_one_of_many) {
        return Some(real.into_owned());
    }
    None
}

/// `python3.13` and `perl5.40-x86_64-linux-gnu` as `python` and `perl`.
fn is_interpreter(name: &str) -> bool {
    let base = name.split(|c: char| c.is_ascii_digit()).next();
    let base = base.unwrap_or_default().trim_end_matches(['-', '.', '_']);
    INTERPRETERS.contains(&name) || INTERPRETERS.contains(&base) || name.starts_with("ld-")
}

#[cfg(test)]
mod tests {
    use haul_common::job::FailureKind;

    use super::*;

    #[test]
    fn interpreters_are_known_under_their_many_names() {
        for name in [
            "sh",
            "python3.13",
            "perl5.40-x86_64-linux-gnu",
            "env",
            "ld-linux-x86-64.so.2",
        ] {
            assert!(is_interpreter(name), "{name}");
        }
        for name in ["gzip", "sha256sum", "true", "ls", "7z", "ffmpeg"] {
            assert!(!is_interpreter(name), "{name}");
        }
    }

    #[test]
    fn an_interpreter_must_be_said_twice_also_under_another_name() {
        let error = Programs::only(&["true", "sh"]).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
        assert!(Programs::only(&["sh", "sh"]).is_ok());
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("harmless");
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        let link = link.to_str().unwrap();
        assert!(Programs::only(&[link]).is_err());
        assert!(Programs::only(&[link, link]).is_ok());
    }

    #[test]
    fn what_is_not_there_cannot_be_allowed() {
        for name in [
            "no-such-program",
            "/no/such/program",
            "./true",
            "/etc/passwd",
            "/tmp",
        ] {
            assert!(Programs::only(&[name]).is_err(), "{name}");
        }
    }

    #[test]
    fn only_listed_programs_run_by_their_name_or_the_same_path() {
        let programs = Programs::only(&["true"]).unwrap();
        let path = programs.resolve("true").unwrap();
        assert!(path.is_absolute());
        assert!(programs.resolve(path.to_str().unwrap()).is_ok());
        let detour = format!("/usr/..{}", path.display());
        for other in ["false", "./true", "/tmp/true", "../true", "", &detour] {
            let failure = programs.resolve(other).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Fatal, "{other}");
        }
    }
}
