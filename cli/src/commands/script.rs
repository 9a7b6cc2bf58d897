//! `haul script`

use std::io::Read;

use clap::{Args, Subcommand};
use haul_common::{
    job::{SCRIPT_BYTES_MAX, Script, ScriptName, ScriptVersion},
    ports::Store,
};
use serde::Serialize;

use super::job::age;
use crate::{
    exit::{Code, Exit},
    output::{self, Cell, Table},
    session::Session,
};

/// What to do with stored scripts.
#[derive(Debug, Subcommand)]
pub(crate) enum ScriptCommand {
    /// Store a script under a name and print its version
    Add(AddArgs),
    /// List scripts
    List(ListArgs),
    /// Print a script
    Show(ShowArgs),
    /// Remove a script, with all its versions
    Remove(RemoveArgs),
}

/// Which script.
#[derive(Debug, Args)]
#[command(after_help = "\
Its first line says what runs it, such as #!/usr/bin/env python3; without one it is /bin/sh. Jobs
name it: haul job push script.run --args '{\"name\": \"NAME\", \"args\": [\"a\", \"b\"]}'.

Its version is the SHA-256 of its text. A job may say \"version\" and then runs that one or nothing;
else it runs what the name means when the attempt starts. The last 10 versions are kept. Workers of
a fleet run stored scripts only with --allow-scripts.

Examples:
  haul script add resize resize.sh
  version=$(haul script add resize - < resize.sh)")]
pub(crate) struct AddArgs {
    /// What jobs call it
    name: ScriptName,
    /// Where its text is: a file, or - for stdin
    #[arg(value_name = "FILE|-")]
    file: String,
}

/// Which scripts: all.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {}

/// Which script.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its name
    name: ScriptName,
    /// An earlier version of it
    #[arg(long, value_name = "VERSION")]
    at: Option<ScriptVersion>,
}

/// Which script.
#[derive(Debug, Args)]
#[command(after_help = "\
Jobs that name it and have not started end dead; they can be retried once it is there again.")]
pub(crate) struct RemoveArgs {
    /// Its name
    name: ScriptName,
}

/// A script, as JSON.
#[derive(Debug, Serialize)]
struct ScriptView<'a> {
    name: &'a ScriptName,
    version: &'a ScriptVersion,
    added_at: String,
    bytes: usize,
    interpreter: &'a str,
    /// Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

impl<'a> From<&'a Script> for ScriptView<'a> {
    fn from(script: &'a Script) -> Self {
        Self {
            name: &script.name,
            version: &script.version,
            added_at: script.added.to_string(),
            bytes: script.text.len(),
            interpreter: script.interpreter().0,
            text: None,
        }
    }
}

/// Carries out the command.
///
/// # Errors
/// When the script is none, is not there, or the store cannot be asked.
pub(crate) async fn run(session: &Session, command: ScriptCommand) -> anyhow::Result<()> {
    match command {
        ScriptCommand::Add(args) => add(session, args).await,
        ScriptCommand::List(ListArgs {}) => list(session).await,
        ScriptCommand::Show(args) => show(session, args).await,
        ScriptCommand::Remove(args) => remove(session, args).await,
    }
}

async fn add(session: &Session, args: AddArgs) -> anyhow::Result<()> {
    let text = text(&args.file)?;
    let wrong = |error| Exit::usage(format!("{} cannot be a script: {error}", args.file));
    // Checked before anything is connected to.
    let mut script = Script::new(args.name, text, Default::default()).map_err(wrong)?;
    let producer = session.connect().await?;
    let store = &producer.backend().store;
    script.added = store.now();
    let before = store.script(&script.name, None).await?;
    store.keep_script(script.clone()).await?;
    if session.json {
        return output::json(&ScriptView::from(&script));
    }
    let (name, version) = (&script.name, script.version.short());
    session.say(match before {
        Some(before) if before.version == script.version => {
            format!("haul: script {name} is at version {version} already")
        }
        Some(before) => format!(
            "haul: script {name} is now version {version}, and was {}",
            before.version.short()
        ),
        None => format!("haul: script {name} is stored, version {version}"),
    });
    output::line(&script.version)
}

/// No more than is needed to see that it is too much.
fn text(file: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let most = SCRIPT_BYTES_MAX as u64 + 1;
    let read = if file == "-" {
        std::io::stdin().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|error| Exit::usage(format!("cannot read the script from {file}: {error}")))?;
    if bytes.len() > SCRIPT_BYTES_MAX {
        return Err(Exit::usage(format!(
            "{file} cannot be a script: it is over {SCRIPT_BYTES_MAX} bytes; install what is \
             large on the workers, and store a script that calls it"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Exit::usage(format!(
            "{file} cannot be a script: byte {at} is not UTF-8; store a script that calls the \
             program"
        ))
    })
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let store = &producer.backend().store;
    let scripts = store.scripts().await?;
    if session.json {
        let views = scripts.iter().map(ScriptView::from);
        return views.into_iter().try_for_each(|view| output::json(&view));
    }
    if scripts.is_empty() {
        session.say("no scripts yet; store one with: haul script add NAME FILE");
        return Ok(());
    }
    let headings = ["NAME", "VERSION", "BYTES", "AGE", "INTERPRETER"];
    let mut table = Table::new(headings.into_iter().map(Cell::from).collect());
    for script in &scripts {
        table.row(vec![
            Cell::from(&*script.name),
            Cell::from(script.version.short()),
            Cell::number(script.text.len() as u64),
            Cell::from(age(store.now().since(script.added))),
            Cell::from(script.interpreter().0),
        ]);
    }
    table.print()
}

async fn show(session: &Session, args: ShowArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let store = &producer.backend().store;
    let script = find(&**store, &args.name, args.at.as_ref()).await?;
    if session.json {
        let text = Some(script.text.as_str());
        return output::json(&ScriptView {
            text,
            ..ScriptView::from(&script)
        });
    }
    output::text(&script.text)
}

async fn find(
    store: &dyn Store,
    name: &ScriptName,
    version: Option<&ScriptVersion>,
) -> anyhow::Result<Script> {
    if let Some(script) = store.script(name, version).await? {
        return Ok(script);
    }
    let message = match store.script(name, None).await? {
        Some(now) => format!(
            "script `{name}` has no such version (any more); it is {} now",
            now.version
        ),
        None => missing(name),
    };
    Err(Exit::with(Code::NotFound, message))
}

fn missing(name: &ScriptName) -> String {
    format!("there is no script `{name}`; see which there are with: haul script list")
}

async fn remove(session: &Session, args: RemoveArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let name = args.name;
    if !producer.backend().store.forget_script(&name).await? {
        return Err(Exit::with(Code::NotFound, missing(&name)));
    }
    if session.json {
        return output::json(&serde_json::json!({"name": name, "removed": true}));
    }
    session.say(format!("haul: script {name} is removed"));
    Ok(())
}
