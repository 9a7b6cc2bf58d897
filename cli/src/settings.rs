//! Where flags, environment and file meet: a flag is stronger than the environment, that is
//! stronger than the file `haul.toml`, and that is stronger than the default.
//!
//! ```toml
//! broker = "amqp://localhost/jobs"
//! store = "redis://localhost/0"
//! namespace = "haul"
//! log = "info"
//! log_format = "json"
//! management = "http://operator@rabbitmq:15672"
//!
//! [worker]
//! queues = ["default", "mail=8"]
//! grace = "30s"
//! allow_shell = false
//! strict_lanes = false
//!
//! [shell]
//! programs = ["gzip", "/opt/bin/resize"]
//! scripts = true
//! env = ["PATH", "LC_*"]
//! job_env = ["MODE"]
//! user = "nobody"
//! memory = "512MiB"
//! cpu = "10m"
//! open_files = 256
//! output = "10MiB"
//! listen = "127.0.0.1:9464"
//!
//! [exporter]
//! listen = "127.0.0.1:9465"
//! interval = "15s"
//! objective = "5m"
//! objectives = { mail = "30s" }
//! canary = ["default"]
//! canary_every = "1m"
//! ```
//!
//! The section `[http]` is read in [`crate::callbacks`].

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use haul_common::connect::{DEFAULT_URL, Urls};
use serde::Deserialize;

use crate::{
    args::Global, callbacks::HttpFile, exit::Exit, log::Format, redact::redact, shell::ShellFile,
};

const FILE: &str = "haul.toml";

/// What was settled for this run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where the broker and the store are.
    pub(crate) urls: Urls,
    /// Whether anybody said where the broker is.
    pub(crate) is_told: bool,
    /// How much is logged; by command when absent.
    pub(crate) log: Option<String>,
    /// Where to answer monitors, by the environment.
    pub(crate) listen: Option<String>,
    /// How it is written.
    pub(crate) log_format: Format,
    /// Where RabbitMQ's management plugin answers, for `haul doctor`.
    pub(crate) management: Option<String>,
    /// What the file says of workers.
    pub(crate) worker: WorkerFile,
    /// What the file says of `http.request`.
    pub(crate) http: HttpFile,
    /// What the file says of shell jobs.
    pub(crate) shell: ShellFile,
    /// What the file says of the exporter.
    pub(crate) exporter: ExporterFile,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    broker: Option<String>,
    store: Option<String>,
    namespace: Option<String>,
    log: Option<String>,
    log_format: Option<Format>,
    management: Option<String>,
    #[serde(default)]
    worker: WorkerFile,
    #[serde(default)]
    http: HttpFile,
    #[serde(default)]
    shell: ShellFile,
    #[serde(default)]
    exporter: ExporterFile,
}

/// The part of the file that is about workers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerFile {
    /// Queues to consume from, each `NAME` or `NAME=SLOTS`.
    #[serde(default)]
    pub(crate) queues: Vec<String>,
    /// How long a drain waits for what runs.
    pub(crate) grace: Option<String>,
    /// Whether `shell.run` may run.
    pub(crate) allow_shell: Option<bool>,
    /// Whether a lower lane waits until the higher ones are empty.
    pub(crate) strict_lanes: Option<bool>,
    /// Where to answer monitors.
    pub(crate) listen: Option<String>,
}

/// The part of the file that is about the exporter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExporterFile {
    /// Where to answer monitors.
    pub(crate) listen: Option<String>,
    /// How often to look.
    pub(crate) interval: Option<String>,
    /// For how long a job of any queue should wait at most.
    pub(crate) objective: Option<String>,
    /// The same, of single queues.
    #[serde(default)]
    pub(crate) objectives: BTreeMap<String, String>,
    /// Queues that get a canary.
    #[serde(default)]
    pub(crate) canary: Vec<String>,
    /// How often.
    pub(crate) canary_every: Option<String>,
}

/// One source of the same settings.
#[derive(Debug, Default)]
struct Layer {
    broker: Option<String>,
    store: Option<String>,
    namespace: Option<String>,
    log: Option<String>,
    log_format: Option<Format>,
    management: Option<String>,
}

impl Settings {
    /// Reads environment and file, and puts the flags above them.
    ///
    /// # Errors
    /// When the file cannot be read, or says something unknown.
    pub(crate) fn load(flags: &Global) -> anyhow::Result<Self> {
        let file = match flags
            .config
            .clone()
            .or_else(|| env("HAUL_CONFIG").map(PathBuf::from))
        {
            Some(path) => read(&path)?,
            None if Path::new(FILE).exists() => read(Path::new(FILE))?,
            None => File::default(),
        };
        let environment = Layer {
            broker: secret("HAUL_BROKER")?,
            store: secret("HAUL_STORE")?,
            namespace: env("HAUL_NAMESPACE"),
            log: env("HAUL_LOG"),
            log_format: env("HAUL_LOG_FORMAT")
                .map(|text| text.parse())
                .transpose()
                .map_err(|why: String| Exit::usage(format!("HAUL_LOG_FORMAT: {why}")))?,
            management: secret("HAUL_MANAGEMENT")?,
        };
        Ok(Self::merge(flags, environment, file))
    }

    /// Whether broker and store are one file of this host.
    pub(crate) fn is_embedded(&self) -> bool {
        let Urls { broker, store, .. } = &self.urls;
        broker.starts_with("sqlite:") && store.as_ref().is_none_or(|store| store == broker)
    }

    /// The SQLite file that is the store, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        let Urls { broker, store, .. } = &self.urls;
        let path = store.as_ref().unwrap_or(broker).strip_prefix("sqlite:")?;
        Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
    }

    fn merge(flags: &Global, environment: Layer, file: File) -> Self {
        let flags = Layer {
            broker: flags.broker.clone(),
            store: flags.store.clone(),
            namespace: flags.namespace.clone(),
            log: flags.log.clone(),
            log_format: flags.log_format,
            management: None,
        };
        let (worker, shell, http) = (file.worker, file.shell, file.http);
        let exporter = file.exporter;
        let file = Layer {
            broker: file.broker,
            store: file.store,
            namespace: file.namespace,
            log: file.log,
            log_format: file.log_format,
            management: file.management,
        };
        let layers = [flags, environment, file];
        let broker = layers.iter().find_map(|layer| layer.broker.clone());
        let is_told = broker.is_some();
        let urls = Urls {
            broker: broker.unwrap_or_else(|| DEFAULT_URL.to_owned()),
            store: store(&layers),
            namespace: layers.iter().find_map(|layer| layer.namespace.clone()),
        };
        Self {
            urls,
            is_told,
            log: layers.iter().find_map(|layer| layer.log.clone()),
            log_format: layers
                .iter()
                .find_map(|layer| layer.log_format)
                .unwrap_or_default(),
            management: layers.iter().find_map(|layer| layer.management.clone()),
            listen: env("HAUL_LISTEN"),
            worker,
            http,
            shell,
            exporter,
        }
    }
}

/// A SQLite broker is its own store: a store that a weaker layer names belongs to another broker,
/// so that `--broker sqlite:x.db` works where the environment speaks of a fleet.
fn store(layers: &[Layer]) -> Option<String> {
    for layer in layers {
        if layer.store.is_some() {
            return layer.store.clone();
        }
        if layer
            .broker
            .as_ref()
            .is_some_and(|broker| broker.starts_with("sqlite:"))
        {
            return None;
        }
        if layer.broker.is_some() {
            return layers.iter().find_map(|layer| layer.store.clone());
        }
    }
    None
}

/// An empty variable is as good as none.
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The variable, or what stands in the file that the variable with `_FILE` behind its name names:
/// a password in an environment is seen by every child, and by whoever may inspect a container.
fn secret(name: &str) -> anyhow::Result<Option<String>> {
    let variable = format!("{name}_FILE");
    let Some(path) = env(&variable) else {
        return Ok(env(name));
    };
    if env(name).is_some() {
        let both = format!("{name} and {variable} are both set: keep one of them");
        return Err(Exit::usage(both));
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Exit::usage(format!("{variable}: cannot read {path:?}: {error}")))?;
    let url = text.trim();
    if url.is_empty() || url.contains('\n') {
        let wrong = format!("{variable}: {path:?} must hold one line, a URL");
        return Err(Exit::usage(wrong));
    }
    Ok(Some(url.to_owned()))
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Exit::usage(format!("cannot read the settings in {path:?}: {error}")))?;
    parse(&text).map_err(|why| Exit::usage(format!("{}: {why}", path.display())))
}

pub(crate) fn parse(text: &str) -> Result<File, String> {
    toml::from_str(text).map_err(|error| {
        // Not the line itself, which may hold a password.
        let line = error.span().map_or(1, |span| {
            text.get(..span.start)
                .unwrap_or_default()
                .matches('\n')
                .count()
                + 1
        });
        let why = redact(error.message().trim()).replace('\n', "; ");
        format!("line {line}: {}", why.chars().take(500).collect::<String>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(broker: Option<&str>, store: Option<&str>) -> Layer {
        Layer {
            broker: broker.map(str::to_owned),
            store: store.map(str::to_owned),
            ..Layer::default()
        }
    }

    fn file(text: &str) -> File {
        parse(text).unwrap()
    }

    #[test]
    fn a_flag_is_stronger_than_the_environment_and_that_than_the_file() {
        let flags = Global {
            namespace: Some("flag".into()),
            ..Global::default()
        };
        let mut environment = layer(Some("amqp://env"), None);
        environment.namespace = Some("env".into());
        let file = file("broker = 'amqp://file'\nstore = 'redis://file'\nnamespace = 'file'");
        let urls = Settings::merge(&flags, environment, file).urls;
        assert_eq!(urls.namespace.as_deref(), Some("flag"));
        assert_eq!(urls.broker, "amqp://env");
        assert_eq!(urls.store.as_deref(), Some("redis://file"));
    }

    #[test]
    fn a_sqlite_broker_leaves_a_weaker_store_alone() {
        let flags = Global {
            broker: Some("sqlite:x.db".into()),
            ..Global::default()
        };
        let environment = layer(Some("amqp://env"), Some("redis://env"));
        let urls = Settings::merge(&flags, environment, File::default()).urls;
        assert_eq!(urls.store, None);
    }

    #[test]
    fn nothing_given_is_a_file_in_the_working_directory() {
        let urls = Settings::merge(&Global::default(), Layer::default(), File::default()).urls;
        assert_eq!(urls, Urls::from(DEFAULT_URL));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_without_its_value() {
        let error = parse("namespace = 'x'\nbrokr = 'amqp://me:secret@host'").unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("`brokr`"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_wrong_type_is_named_with_its_line_and_without_its_password() {
        let error = parse("\nworker = 'amqp://me:secret@host'").unwrap_err();
        assert!(
            error.contains("line 2") && !error.contains("secret"),
            "{error}"
        );
    }
}
