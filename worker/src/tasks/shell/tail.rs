//! Reads a stream to its end and keeps its tail.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

/// A longer line is taken in parts.
pub(super) const LINE_BYTES_MAX: usize = 80 * 1024;

/// The tail of a stream, as far as it was read.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    read: Arc<Mutex<Read>>,
    max: usize,
}

#[derive(Debug, Default)]
struct Read {
    kept: Vec<u8>,
    /// A line that is still to end.
    partial: Vec<u8>,
}

/// Counts what a job writes.
#[derive(Debug)]
pub(super) struct Meter {
    left: AtomicU64,
    /// Trips once it is too much.
    pub(super) over: CancellationToken,
}

impl Meter {
    pub(super) fn new(max: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(max.unwrap_or(u64::MAX)),
            over: CancellationToken::new(),
        })
    }

    fn count(&self, bytes: usize) {
        let bytes = bytes as u64;
        let spend = |left: u64| left.checked_sub(bytes);
        if self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .is_err()
        {
            self.over.cancel();
        }
    }
}

impl Tail {
    pub(super) fn new(max: usize) -> Self {
        Self {
            read: Arc::default(),
            max,
        }
    }

    fn state(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads to the end, and calls `take` with every line: those that it takes are not kept.
    pub(super) async fn read<R: AsyncRead + Unpin>(
        self,
        mut from: R,
        meter: Arc<Meter>,
        take: impl Fn(&str) -> bool,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            meter.count(count);
            self.feed(&buffer[..count], &take);
        }
        let mut read = self.state();
        let rest = std::mem::take(&mut read.partial);
        read.line(&rest, self.max, &take);
    }

    fn feed(&self, chunk: &[u8], take: &impl Fn(&str) -> bool) {
        let mut read = self.state();
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            let is_whole = part.ends_with(b"\n");
            if is_whole && read.partial.is_empty() {
                read.line(part, self.max, take);
                continue;
            }
            read.partial.extend_from_slice(part);
            if is_whole || read.partial.len() > LINE_BYTES_MAX {
                let line = std::mem::take(&mut read.partial);
                read.line(&line, self.max, take);
            }
        }
    }

    /// At most as many bytes as it may keep, and twice that once it is written as JSON.
    pub(super) fn text(&self) -> String {
        let read = self.state();
        let bytes = [read.kept.as_slice(), &read.partial].concat();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(self.max)..]);
        let mut room = 2 * self.max;
        for (at, char) in text.char_indices().rev() {
            match room.checked_sub(json_bytes(char)) {
                Some(left) => room = left,
                None => return text[at + char.len_utf8()..].to_owned(),
            }
        }
        text.into_owned()
    }
}

impl Read {
    fn line(&mut self, line: &[u8], max: usize, take: &impl Fn(&str) -> bool) {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        if line.is_empty() || take(&text) {
            return;
        }
        self.kept.extend_from_slice(line);
        // Cut only when twice too long, so that a flood is not copied for every line.
        if self.kept.len() > 2 * max {
            let cut = self.kept.len() - max;
            self.kept.drain(..cut);
        }
    }
}

/// How long a character is in JSON.
fn json_bytes(char: char) -> usize {
    match char {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..'\u{20}' => 6,
        char => char.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], max: usize, take: impl Fn(&str) -> bool) -> String {
        let tail = Tail::new(max);
        tail.clone().read(bytes, Meter::new(None), take).await;
        tail.text()
    }

    #[tokio::test]
    async fn a_flood_keeps_its_tail() {
        let flood: Vec<u8> = (0..100_000)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();
        let lines = Mutex::new(0);
        let count = |_: &str| {
            *lines.lock().unwrap() += 1;
            false
        };
        let text = read(&flood, 1000, count).await;
        assert_eq!(*lines.lock().unwrap(), 100_000);
        assert!(text.ends_with("99999\n") && text.len() <= 1000);
    }

    #[tokio::test]
    async fn a_flood_of_bytes_stays_small_as_json() {
        let text = read(&[0; 100_000], 1000, |_| false).await;
        assert!(serde_json::to_string(&text).unwrap().len() <= 2 * 1000 + 2);
    }

    #[tokio::test]
    async fn a_line_that_is_taken_is_not_kept() {
        let text = read(b"a\n::x 1\nb\n::x 2", 100, |line| line.starts_with("::x")).await;
        assert_eq!(text, "a\nb\n");
    }

    #[tokio::test]
    async fn more_than_the_limit_trips_the_meter() {
        for (max, is_over) in [(10, false), (9, true)] {
            let meter = Meter::new(Some(max));
            Tail::new(5)
                .read(&b"0123456789"[..], meter.clone(), |_| false)
                .await;
            assert_eq!(meter.over.is_cancelled(), is_over);
        }
    }
}
