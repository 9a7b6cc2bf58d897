//! What the file says of shell jobs, and the rules that come of it and the flags.

use std::{num::NonZeroU64, time::Duration};

use haul_common::time::parse_duration;
use haul_worker::tasks::shell::{Limits, ShellRules};
use serde::Deserialize;

use crate::exit::Exit;

/// The part of the file that is about shell jobs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShellFile {
    /// The only programs that jobs may run.
    #[serde(default)]
    programs: Vec<String>,
    /// Whether stored scripts may run.
    scripts: Option<bool>,
    /// What of the worker's environment jobs see.
    env: Option<Vec<String>>,
    /// Which variables jobs may set.
    job_env: Option<Vec<String>>,
    /// As whom jobs run: USER or USER:GROUP.
    user: Option<String>,
    /// Most memory of a process, such as 512MiB.
    memory: Option<String>,
    /// Most CPU time of a process, such as 10m.
    cpu: Option<String>,
    /// Most open files of a process.
    open_files: Option<NonZeroU64>,
    /// Most output of a job, such as 10MiB.
    output: Option<String>,
}

/// What may run, as flags say it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) any: bool,
    pub(crate) programs: Vec<String>,
    pub(crate) scripts: bool,
    /// Where nothing is said: whoever can write to a file of this host could as well run a
    /// command on it.
    pub(crate) embedded: bool,
    /// What the file says of `any`.
    pub(crate) file_any: Option<bool>,
}

impl ShellFile {
    /// The rules.
    ///
    /// # Errors
    /// When one cannot be.
    pub(crate) fn rules(&self, asked: Asked) -> anyhow::Result<ShellRules> {
        let rules = match self.named(&asked)? {
            Some(rules) => rules.scripts(false),
            None if asked.any || asked.file_any.unwrap_or(asked.embedded) => {
                ShellRules::anything().scripts(asked.embedded)
            }
            None => ShellRules::nothing(),
        };
        let rules = match asked.scripts.then_some(true).or(self.scripts) {
            Some(scripts) => rules.scripts(scripts),
            None => rules,
        };
        let mut rules = rules.limits(self.limits()?);
        if let Some(names) = &self.env {
            rules = rules.env(names).map_err(|error| in_file("env", &error))?;
        }
        if let Some(names) = &self.job_env {
            rules = rules.job_env(names);
        }
        if let Some(user) = &self.user {
            rules = rules.user(user).map_err(|error| in_file("user", &error))?;
        }
        Ok(rules)
    }

    /// The rules that name programs; a flag is stronger than the file.
    fn named(&self, asked: &Asked) -> anyhow::Result<Option<ShellRules>> {
        if !asked.programs.is_empty() {
            let rules = ShellRules::nothing().programs(&asked.programs);
            return match rules {
                Ok(rules) => Ok(Some(rules)),
                Err(error) => Err(Exit::usage(format!("--allow-program: {error}"))),
            };
        }
        if asked.any || self.programs.is_empty() {
            return Ok(None);
        }
        let rules = ShellRules::nothing().programs(&self.programs);
        rules.map(Some).map_err(|error| in_file("programs", &error))
    }

    fn limits(&self) -> anyhow::Result<Limits> {
        let size = |key, text: &Option<String>| {
            let size = text.as_deref().map(parse_size).transpose();
            size.map_err(|why| in_file(key, &why))
        };
        let seconds = |text: &String| {
            let time = parse_duration(text).map_err(|why| in_file("cpu", &why))?;
            let seconds = time.as_secs() + u64::from(time > Duration::from_secs(time.as_secs()));
            NonZeroU64::new(seconds).ok_or_else(|| in_file("cpu", &"it must be more than nothing"))
        };
        Ok(Limits {
            memory_bytes: size("memory", &self.memory)?,
            cpu_s: self.cpu.as_ref().map(seconds).transpose()?,
            open_files: self.open_files,
            output_bytes: size("output", &self.output)?,
        })
    }
}

fn in_file(key: &str, why: &dyn std::fmt::Display) -> anyhow::Error {
    Exit::usage(format!("the settings' file, [shell] {key}: {why}"))
}

/// Bytes, as people write them.
fn parse_size(text: &str) -> Result<NonZeroU64, String> {
    const UNITS: [(&str, u32); 5] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0), ("", 0)];
    let parse = |(unit, shift): (&str, u32)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        NonZeroU64::new(number.checked_mul(1 << shift)?)
    };
    UNITS
        .into_iter()
        .find_map(parse)
        .ok_or_else(|| format!("`{text}` is no size; write a number and KiB, MiB or GiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(embedded: bool) -> Asked {
        Asked {
            any: false,
            programs: Vec::new(),
            scripts: false,
            embedded,
            file_any: None,
        }
    }

    #[test]
    fn sizes_have_units() {
        let size = |text| parse_size(text).map(NonZeroU64::get);
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("3 KiB"), Ok(3072));
        assert_eq!(size("100"), Ok(100));
        for text in ["", "0", "MiB", "-1MiB", "1.5GiB", "512MB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_setting_is_checked() {
        for text in [
            "memory = 'much'",
            "cpu = '0s'",
            "programs = ['no-such-program']",
            "programs = ['sh']",
            "env = ['HAUL_BROKER']",
            "user = 'no-such-user'",
        ] {
            let file: ShellFile = toml::from_str(text).unwrap();
            let key = text.split(' ').next().unwrap();
            let error = file.rules(asked(true)).unwrap_err().to_string();
            assert!(error.contains(&format!("[shell] {key}")), "{error}");
        }
    }
}
