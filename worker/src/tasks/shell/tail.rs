//! Reads a stream to its end and keeps its tail.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The tail of a stream, as far as it was read.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    bytes: Arc<Mutex<Vec<u8>>>,
    max: usize,
}

impl Tail {
    pub(super) fn new(max: usize) -> Self {
        Self {
            bytes: Arc::default(),
            max,
        }
    }

    /// Reads to the end, and calls `line` with every whole line.
    pub(super) async fn read<R: AsyncRead + Unpin>(self, mut from: R, line: impl Fn(&str)) {
        let mut buffer = vec![0; 16 * 1024];
        let mut partial = Vec::new();
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let chunk = &buffer[..count];
            self.keep(chunk);
            partial.extend_from_slice(chunk);
            while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                line(&String::from_utf8_lossy(&partial[..end]));
                partial.drain(..=end);
            }
            if partial.len() > self.max {
                line(&String::from_utf8_lossy(&partial));
                partial.clear();
            }
        }
        if !partial.is_empty() {
            line(&String::from_utf8_lossy(&partial));
        }
    }

    fn keep(&self, chunk: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(chunk);
        // Cut only when twice too long, so that a flood is not copied for every chunk.
        if bytes.len() > 2 * self.max {
            let cut = bytes.len() - self.max;
            bytes.drain(..cut);
        }
    }

    pub(super) fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = bytes.len().saturating_sub(self.max);
        String::from_utf8_lossy(&bytes[cut..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_keeps_its_tail() {
        let flood: Vec<u8> = (0..100_000)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();
        let tail = Tail::new(1000);
        let lines = Mutex::new(0);
        tail.clone()
            .read(&flood[..], |_| *lines.lock().unwrap() += 1)
            .await;
        assert_eq!(*lines.lock().unwrap(), 100_000);
        assert!(tail.text().ends_with("99999\n"));
        assert!(tail.text().len() <= 1000);
    }
}
