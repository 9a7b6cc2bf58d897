//! What is done for an item: a command, a line for a shell, or another task.

use haul_common::job::{Json, Task, TaskName, json};
use haul_worker::tasks::shell::ShellRun;
use serde_json::Value;

use super::{
    rows::json_of,
    source::{Item, Origin},
    template::{Columns, Template, quoted},
};
use crate::exit::Exit;

/// What is done for each item.
#[derive(Debug)]
pub(super) enum Work {
    /// Runs a program.
    Command(Vec<Template>),
    /// Each item is a line for `/bin/sh`.
    Script,
    /// A task other than `shell.run`, with these arguments; without, each item is its arguments.
    Task(TaskName, Option<Value>),
}

/// What is done for one item.
#[derive(Debug)]
pub(super) enum Deed {
    /// This program and its arguments.
    Command(Vec<String>),
    /// This line.
    Script(String),
    /// A task, with these arguments.
    Task(TaskName, Json),
}

impl Work {
    /// From the words of the command line.
    ///
    /// # Errors
    /// When they do not fit the items, or are no JSON for a task.
    pub(super) fn new(
        words: &[String],
        task: Option<TaskName>,
        origin: &Origin,
    ) -> anyhow::Result<Self> {
        if let Some(task) = task.filter(|task| **task != *ShellRun::NAME) {
            let args = match words {
                [] => None,
                [args] => Some(serde_json::from_str(args).map_err(|error| {
                    Exit::usage(format!("the arguments for {task} are not JSON: {error}"))
                })?),
                _ => {
                    return Err(Exit::usage(
                        "with --task, behind -- stand its arguments: one word of JSON, such as \
                         '{\"to\": \"{email}\"}'",
                    ));
                }
            };
            return Ok(Self::Task(task, args));
        }
        let has_columns = origin.has_columns();
        let parse = |word: &String| Template::parse(word, has_columns);
        let mut command: Vec<Template> = words.iter().map(parse).collect();
        if command.iter().any(Template::has_places) {
            return Ok(Self::Command(command));
        }
        match (words, has_columns) {
            (_, true) => Err(Exit::usage(
                "say in the command where the columns go, such as -- curl https://example.org/{id}",
            )),
            ([], false) => Ok(Self::Script),
            (_, false) => {
                command.push(Template::item());
                Ok(Self::Command(command))
            }
        }
    }

    /// The task that its jobs are.
    pub(super) fn task(&self) -> &str {
        match self {
            Self::Command(_) | Self::Script => ShellRun::NAME,
            Self::Task(task, _) => task,
        }
    }

    /// What is done for this item.
    ///
    /// # Errors
    /// When a column is missing, or the item is no JSON where it has to be.
    pub(super) fn of(&self, item: &Item) -> Result<Deed, String> {
        let columns: Option<Columns> = match (&item.json, self) {
            (Some(json), Self::Command(_) | Self::Task(_, Some(_))) => {
                serde_json::from_str(json.get()).ok()
            }
            _ => None,
        };
        let columns = columns.as_ref();
        Ok(match self {
            Self::Command(words) => {
                let fill = |word: &Template| word.fill(item, columns);
                Deed::Command(words.iter().map(fill).collect::<Result<_, _>>()?)
            }
            Self::Script => Deed::Script(item.text.clone()),
            Self::Task(task, Some(args)) => {
                let args = filled(args, item, columns)?;
                Deed::Task(
                    task.clone(),
                    json(&args).map_err(|error| error.to_string())?,
                )
            }
            Self::Task(task, None) => Deed::Task(task.clone(), arguments(item)?),
        })
    }

    /// Reads all items, before anything is submitted; says how many there are.
    ///
    /// # Errors
    /// When one of them cannot be read, or nothing can be done for it: which, and why.
    pub(super) fn check(&self, origin: &Origin) -> Result<usize, String> {
        let mut count = 0;
        for item in origin.items()? {
            let item = item?;
            self.of(&item)
                .map_err(|why| format!("{}: {why}", origin.place(&item)))?;
            count += 1;
        }
        Ok(count)
    }
}

fn arguments(item: &Item) -> Result<Json, String> {
    match (&item.json, &item.print) {
        (Some(json), _) => Ok(json.clone()),
        // The name of a file is text.
        (None, Some(_)) => json(&item.text).map_err(|error| error.to_string()),
        (None, None) => json_of(&item.text)
            .map_err(|why| format!("it is to be the arguments, and is {why}; text goes in quotes")),
    }
}

/// Places within texts are filled; everything else stays what it is.
fn filled(value: &Value, item: &Item, columns: Option<&Columns>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => {
            let template = Template::parse(text, columns.is_some());
            Value::String(template.fill(item, columns)?)
        }
        Value::Array(values) => {
            let fill = |value| filled(value, item, columns);
            Value::Array(values.iter().map(fill).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let fill =
                |(key, value): (&String, &Value)| Ok((key.clone(), filled(value, item, columns)?));
            Value::Object(fields.iter().map(fill).collect::<Result<_, String>>()?)
        }
        _ => value.clone(),
    })
}

impl std::fmt::Display for Deed {
    /// As a person would type it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(words) => {
                let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                f.write_str(&words.join(" "))
            }
            Self::Script(line) => f.write_str(line),
            Self::Task(task, args) => write!(f, "{task} {}", args.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(command: &[&str], item: &str) -> String {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let origin = Origin::Words(vec![item.to_owned()]);
        let work = Work::new(&command, None, &origin).unwrap();
        let item = origin.items().unwrap().next().unwrap().unwrap();
        work.of(&item).unwrap().to_string()
    }

    #[test]
    fn an_item_takes_every_place_or_goes_to_the_end() {
        assert_eq!(filled(&["cp", "{}", "{}.old"], "a b"), "cp 'a b' 'a b.old'");
        assert_eq!(filled(&["gzip", "-9"], "a b"), "gzip -9 'a b'");
    }

    #[test]
    fn without_a_command_an_item_is_a_line_for_a_shell() {
        assert_eq!(filled(&[], "echo a | wc"), "echo a | wc");
    }
}
