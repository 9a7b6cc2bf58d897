//! `haul schema`

use clap::{Args, ValueEnum};
use haul_common::wire::{schema, topology::Namespace};
use serde_json::Value;

use crate::{exit::Exit, output, session::Session};

/// Which document.
#[derive(Debug, Args)]
#[command(after_help = "\
For programs that publish jobs with an AMQP client of their own; docs/protocol.md says the same in
words. Everything is JSON; with --json it is on one line.

Examples:
  haul schema job > job.schema.json
  haul schema asyncapi --namespace haul > haul.asyncapi.json")]
pub(crate) struct SchemaArgs {
    /// The document to print
    kind: Kind,
}

/// A document.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Exchanges, queues and messages of a fleet, as AsyncAPI 3
    Asyncapi,
    /// The message of one job, as JSON Schema 2020-12
    Job,
}

/// Prints the document.
///
/// # Errors
/// When the namespace is none, or stdout takes no more.
pub(crate) fn run(session: &Session, args: &SchemaArgs) -> anyhow::Result<()> {
    let text = match args.kind {
        Kind::Job => schema::job(),
        Kind::Asyncapi => schema::asyncapi(&namespace(session)?),
    };
    if session.json {
        return output::json(&serde_json::from_str::<Value>(&text)?);
    }
    output::text(&text)
}

fn namespace(session: &Session) -> anyhow::Result<Namespace> {
    match &session.settings.urls.namespace {
        None => Ok(Namespace::standard()),
        Some(name) => Namespace::new(name)
            .map_err(|error| Exit::usage(format!("the namespace cannot be used: {error}"))),
    }
}
