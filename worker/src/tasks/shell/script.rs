//! `script.run`: runs a script that the store holds under a name.
//!
//! A job that says a version runs that one or nothing; without, it runs what the name means when
//! the attempt starts. The script gets a file of its own for each attempt, so that none can change
//! what another runs.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use haul_common::job::{Failure, Script, ScriptName, ScriptVersion, Task};
use serde::{Deserialize, Serialize};

use super::{Launch, Limits, Runner, ShellOutput, attempt};
use crate::Context;

/// Which script to run, and with what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptRun {
    /// Its name, as in `haul script add NAME`.
    pub name: ScriptName,
    /// Its version; what the name means when the attempt starts when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ScriptVersion>,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// What it reads on stdin; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Added to what it sees of the worker's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where it runs; where the worker does when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// What it may use up; the worker's own limits hold too.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

impl Task for ScriptRun {
    const NAME: &'static str = "script.run";
    type Output = ShellOutput;
}

pub(in crate::tasks) async fn run(
    ctx: Context<Runner>,
    job: ScriptRun,
) -> Result<ShellOutput, Failure> {
    ctx.state().check_env(&job.env)?;
    let script = find(&ctx, &job.name, job.version.as_ref()).await?;
    let entry = ctx.state().enter().await?;
    let file = Text::write(entry.script(&script.name), &script.text)
        .map_err(|error| Failure::retry(format!("cannot write the script to a file: {error}")))?;
    let (interpreter, argument) = script.interpreter();
    let first = argument.map(OsString::from).into_iter();
    let mut env = job.env;
    env.insert("HAUL_SCRIPT".to_owned(), script.name.to_string());
    env.insert("HAUL_SCRIPT_VERSION".to_owned(), script.version.to_string());
    let launch = Launch {
        program: interpreter.into(),
        args: first
            .chain([file.0.clone().into()])
            .chain(job.args.into_iter().map(Into::into))
            .collect(),
        env,
        cwd: job.cwd,
        stdin: job.stdin,
        limits: job.limits.and(ctx.state().rules.limits),
    };
    let mut output = attempt(&ctx, launch, entry, false).await?;
    output.script_version = Some(script.version);
    Ok(output)
}

async fn find(
    ctx: &Context<Runner>,
    name: &ScriptName,
    version: Option<&ScriptVersion>,
) -> Result<Script, Failure> {
    if let Some(script) = ctx.core.script(name, version).await? {
        return Ok(script);
    }
    let now = match version {
        Some(_) => ctx.core.script(name, None).await?,
        None => None,
    };
    Err(Failure::fatal(match (version, now) {
        (Some(version), Some(now)) => format!(
            "script `{name}` has no version {version} (any more): it is {} now; submit a job \
             with that version, or add the old text again",
            now.version
        ),
        _ => format!(
            "there is no script `{name}`; add it with: haul script add {name} FILE, then retry \
             the job"
        ),
    }))
}

/// The file that the interpreter reads; removed when dropped.
struct Text(PathBuf);

impl Text {
    fn write(path: PathBuf, text: &str) -> io::Result<Self> {
        let open = |path: &Path| {
            // Others may read it: the program may run as another user.
            let mut options = File::options();
            options.write(true).create_new(true).mode(0o644).open(path)
        };
        open(&path)?.write_all(text.as_bytes())?;
        Ok(Self(path))
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // What is left goes with the whole directory.
        let _ = std::fs::remove_file(&self.0);
    }
}
