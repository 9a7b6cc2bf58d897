//! `haul health`

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    exit::{Code, Exit},
    output,
    session::Session,
};

/// A health check that waits longer than this has its answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Nobody has more to say about how he is.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Whom to ask, and what.
#[derive(Debug, Args)]
#[command(after_help = "\
For health checks in images that have no curl. Ends with 0 if the answer is 200, with 1 if it is
another one, and with 69 if there is none within 3 s.

Examples:
  haul health
  haul health --live --address 127.0.0.1:9465")]
pub(crate) struct HealthArgs {
    /// Where it listens: what `--listen` of that process says
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9464")]
    address: String,
    /// Ask only whether it lives (/livez), not whether it consumes (/readyz)
    #[arg(long)]
    live: bool,
}

/// What it said, as JSON.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    well: bool,
    status: u16,
    answer: &'a str,
}

/// Asks.
///
/// # Errors
/// When it is not well, or does not answer.
pub(crate) async fn run(session: &Session, args: &HealthArgs) -> anyhow::Result<()> {
    let path = if args.live { "/livez" } else { "/readyz" };
    let address = &args.address;
    let silent = |why: &dyn std::fmt::Display| {
        Exit::with(Code::Unreachable, format!("http://{address}{path}: {why}"))
    };
    let text = match timeout(PATIENCE, ask(address, path)).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(silent(&error)),
        Err(_) => return Err(silent(&"no answer within 3 s")),
    };
    let Some((status, answer)) = understand(&text) else {
        return Err(silent(&"what answers there does not speak HTTP"));
    };
    let well = status == 200;
    if session.json {
        output::json(&Answer {
            well,
            status,
            answer,
        })?;
    } else {
        output::line(answer)?;
    }
    if well {
        return Ok(());
    }
    let message = format!("http://{address}{path} answered {status}");
    Err(Exit::with(Code::Failed, message))
}

async fn ask(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut part = stream.take(ANSWER_BYTES_MAX);
    part.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Status and body.
fn understand(text: &str) -> Option<(u16, &str)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.split_whitespace();
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    Some((words.next()?.parse().ok()?, body.trim()))
}

#[cfg(test)]
mod tests {
    use super::understand;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nno!\n";
        assert_eq!(understand(text), Some((503, "no!")));
        for wrong in [
            "",
            "AMQP\0\0\u{9}\u{1}",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(understand(wrong), None, "{wrong}");
        }
    }
}
