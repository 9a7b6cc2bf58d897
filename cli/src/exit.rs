//! What the process ends with, and what it says then. The codes are stable: scripts branch on
//! them.

use std::{fmt, process::ExitCode};

use haul_common::{
    connect::ConnectError,
    filter::FilterError,
    job::NameError,
    ports::{BrokerError, StoreError},
    protocol::{LeaseError, ProtocolError, SubmitError as NotSubmitted},
};
use haul_producer::{SubmitError, WaitError};
use haul_worker::{RunError, lease::TakeError};

use crate::redact::redact;

/// Exit codes. 0 is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    /// It did not work.
    Failed = 1,
    /// It was called wrongly.
    Usage = 2,
    /// A job that was waited for ended dead or cancelled.
    Unsuccessful = 3,
    /// The backend knows us and says no.
    Forbidden = 4,
    /// No such job.
    NotFound = 5,
    /// The job's state, or its id, stands against it.
    Conflict = 6,
    /// The backend does not answer.
    Unreachable = 69,
    /// The time is over.
    TimedOut = 124,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

/// An end other than success: a code, and what is left to say.
#[derive(Debug)]
pub(crate) struct Exit {
    code: Code,
    message: Option<String>,
}

impl Exit {
    /// Ends with `code`; everything has been said already.
    pub(crate) fn silent(code: Code) -> anyhow::Error {
        Self {
            code,
            message: None,
        }
        .into()
    }

    /// Ends with `code` and this message.
    pub(crate) fn with(code: Code, message: impl fmt::Display) -> anyhow::Error {
        Self {
            code,
            message: Some(message.to_string()),
        }
        .into()
    }

    /// Called wrongly: says what was wrong and what would be right.
    pub(crate) fn usage(message: impl fmt::Display) -> anyhow::Error {
        Self::with(Code::Usage, message)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.as_deref().unwrap_or_default())
    }
}

impl std::error::Error for Exit {}

/// Prints what went wrong, and turns it into an exit code.
pub(crate) fn report(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if is_broken_pipe(&error) {
        // Whoever reads has seen enough.
        return ExitCode::SUCCESS;
    }
    let text = redact(&format!("{error:#}"));
    if !text.is_empty() {
        complain(&format!("haul: {text}"));
    }
    ExitCode::from(code_of(&error) as u8)
}

/// Prints what clap says of wrong arguments, or the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let plain = error.render().to_string();
    let clean = redact(&plain);
    if clean == plain {
        // Broken pipe: whoever reads has seen enough.
        let _ = error.print();
    } else {
        complain(&clean);
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn complain(text: &str) {
    use std::io::Write;
    // Without a stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The code that an error ends the process with.
pub(crate) fn code_of(error: &anyhow::Error) -> Code {
    error.chain().find_map(code_of_one).unwrap_or(Code::Failed)
}

fn code_of_one(error: &(dyn std::error::Error + 'static)) -> Option<Code> {
    if let Some(exit) = error.downcast_ref::<Exit>() {
        return Some(exit.code);
    }
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        return Some(connect(error));
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return Some(store(error));
    }
    if let Some(error) = error.downcast_ref::<BrokerError>() {
        return Some(broker(error));
    }
    if let Some(error) = error.downcast_ref::<ProtocolError>() {
        return Some(protocol(error));
    }
    if let Some(error) = error.downcast_ref::<TakeError>() {
        return Some(match error {
            TakeError::Broker(error) => broker(error),
            TakeError::Store(error) => store(error),
            TakeError::Protocol(error) => protocol(error),
        });
    }
    if let Some(error) = error.downcast_ref::<LeaseError>() {
        return Some(lease(error));
    }
    match error.downcast_ref::<RunError>() {
        Some(RunError::Connect(error)) => return Some(connect(error)),
        Some(RunError::Broker(error)) => return Some(broker(error)),
        Some(RunError::Store(error)) => return Some(store(error)),
        Some(RunError::Option(_)) => return Some(Code::Usage),
        _ => {}
    }
    if let Some(error) = error.downcast_ref::<SubmitError>() {
        return Some(submit(error));
    }
    if let Some(error) = error.downcast_ref::<WaitError>() {
        return Some(wait(error));
    }
    (error.is::<FilterError>() || error.is::<NameError>()).then_some(Code::Usage)
}

const fn connect(error: &ConnectError) -> Code {
    match error {
        ConnectError::Url { .. } | ConnectError::StoreMissing | ConnectError::Namespace(_) => {
            Code::Usage
        }
        ConnectError::Broker(error) => broker(error),
        ConnectError::Store(error) => store(error),
    }
}

const fn broker(error: &BrokerError) -> Code {
    match error {
        BrokerError::Unreachable { .. } => Code::Unreachable,
        BrokerError::Forbidden { .. } => Code::Forbidden,
        BrokerError::Mismatch { .. } => Code::Conflict,
        BrokerError::Failed { .. } => Code::Failed,
    }
}

const fn store(error: &StoreError) -> Code {
    match error {
        StoreError::Unreachable { .. } => Code::Unreachable,
        StoreError::Forbidden { .. } => Code::Forbidden,
        StoreError::Unsafe { .. } | StoreError::Corrupt { .. } | StoreError::Failed { .. } => {
            Code::Failed
        }
    }
}

const fn submit(error: &SubmitError) -> Code {
    match error {
        SubmitError::Option(_) | SubmitError::Args(_) => Code::Usage,
        SubmitError::Protocol(error) => match error {
            NotSubmitted::Invalid { .. } => Code::Usage,
            NotSubmitted::Conflict(_) => Code::Conflict,
            NotSubmitted::Refused { .. } => Code::Failed,
            // No answer came: the backend went away meanwhile.
            NotSubmitted::Unknown { .. } => Code::Unreachable,
            NotSubmitted::Store { source, .. } => store(source),
        },
    }
}

const fn protocol(error: &ProtocolError) -> Code {
    match error {
        ProtocolError::Store(error) => store(error),
        ProtocolError::NotPublished { .. } => Code::Failed,
    }
}

const fn lease(error: &LeaseError) -> Code {
    match error {
        LeaseError::NotFound(_) => Code::NotFound,
        LeaseError::Over { .. } => Code::Conflict,
        LeaseError::Protocol(error) => protocol(error),
    }
}

/// How the wait for a job ended.
pub(crate) const fn wait(error: &WaitError) -> Code {
    match error {
        WaitError::NotYet { .. } => Code::TimedOut,
        WaitError::Dead { .. } | WaitError::Cancelled(_) => Code::Unsuccessful,
        WaitError::NotFound(_) => Code::NotFound,
        WaitError::Result { .. } => Code::Failed,
        WaitError::Store(error) => store(error),
    }
}
