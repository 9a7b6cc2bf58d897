//! AMQP 0-9-1 by hand, as far as publishing goes: it sends what no client library would.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    time::timeout,
};

/// One content frame holds at most this much of a body.
const BODY_AT_ONCE: usize = 128 * 1024 - 8;
const ANSWER: Duration = Duration::from_secs(30);

/// A short string of any bytes; cut at 255.
pub fn short(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(255)];
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// Bytes behind their length: a long string, a table, an array.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes(), bytes].concat()
}

/// An entry of a table: its name, its kind and its value, all as they are.
pub fn entry(name: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(name)[..], &[kind], value].concat()
}

/// `depth` tables or arrays, each within the one before.
pub fn nested(kind: u8, depth: usize) -> Vec<u8> {
    let inner = if kind == b'F' { 7 } else { 5 };
    let mut value = Vec::with_capacity(depth * inner + 4);
    for below in (0..depth).rev() {
        let len = u32::try_from(below * inner).unwrap();
        value.extend(len.to_be_bytes());
        if below > 0 {
            value.extend(if kind == b'F' {
                &b"\x01nF"[..]
            } else {
                &b"A"[..]
            });
        }
    }
    value
}

/// Properties of a message, as they are on the wire.
#[derive(Debug, Clone, Default)]
pub struct Properties {
    /// `content_type`.
    pub content_type: Option<Vec<u8>>,
    /// The entries of the table of headers.
    pub headers: Option<Vec<u8>>,
    /// `correlation_id`.
    pub correlation_id: Option<Vec<u8>>,
    /// `reply_to`.
    pub reply_to: Option<Vec<u8>>,
    /// `message_id`.
    pub message_id: Option<Vec<u8>>,
    /// `type`.
    pub kind: Option<Vec<u8>>,
}

impl Properties {
    /// The bytes: flags, then what they say is there. Always persistent.
    pub fn bytes(&self) -> Vec<u8> {
        let mut flags = 1_u16 << 12;
        let mut out = Vec::new();
        let mut put = |bit: u16, bytes: Option<Vec<u8>>| {
            if let Some(bytes) = bytes {
                flags |= 1 << bit;
                out.extend(bytes);
            }
        };
        let text = |value: &Option<Vec<u8>>| value.as_deref().map(short);
        put(15, text(&self.content_type));
        put(13, self.headers.as_deref().map(long));
        put(12, Some(vec![2]));
        put(10, text(&self.correlation_id));
        put(9, text(&self.reply_to));
        put(7, text(&self.message_id));
        put(5, text(&self.kind));
        [&flags.to_be_bytes()[..], &out].concat()
    }
}

/// Confirms that are waited for before more is published.
const OPEN_MAX: usize = 256;

/// A connection with one channel, which only publishes.
#[derive(Debug)]
pub struct Raw {
    stream: BufStream<TcpStream>,
    published: u64,
    open: BTreeSet<u64>,
}

impl Raw {
    /// Connects as guest to the broker at `address`, with confirms.
    ///
    /// # Panics
    /// When the broker refuses.
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self {
            stream: BufStream::new(stream),
            published: 0,
            open: BTreeSet::new(),
        };
        raw.stream.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        raw.expect(10, 10).await;
        let login = long(b"\0guest\0guest");
        let start_ok = [&long(b"")[..], &short(b"PLAIN"), &login, &short(b"en_US")].concat();
        raw.method(0, 10, 11, &start_ok).await;
        raw.expect(10, 30).await;
        // Up to 2047 channels, frames of 128 KiB, no heartbeat.
        raw.method(0, 10, 31, &[0x07, 0xff, 0, 2, 0, 0, 0, 0]).await;
        let open = [&short(b"/")[..], &[0, 0]].concat();
        raw.method(0, 10, 40, &open).await;
        raw.expect(10, 41).await;
        raw.method(1, 20, 10, &[0]).await;
        raw.expect(20, 11).await;
        raw.method(1, 85, 10, &[0]).await;
        raw.expect(85, 11).await;
        raw
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let size = u32::try_from(payload.len()).unwrap();
        let head = [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes()].concat();
        for part in [&head[..], payload, &[0xce]] {
            self.stream.write_all(part).await.unwrap();
        }
    }

    async fn method(&mut self, channel: u16, class: u16, method: u16, args: &[u8]) {
        let head = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.frame(1, channel, &[&head[..], args].concat()).await;
    }

    /// The next method frame's class, method and arguments.
    async fn answer(&mut self) -> (u16, u16, Vec<u8>) {
        self.stream.flush().await.unwrap();
        loop {
            let mut head = [0; 7];
            let read = timeout(ANSWER, self.stream.read_exact(&mut head));
            read.await.expect("the broker answers").unwrap();
            let size = u32::from_be_bytes(head[3..].try_into().unwrap()) as usize;
            let mut rest = vec![0; size + 1];
            self.stream.read_exact(&mut rest).await.unwrap();
            if head[0] == 1 {
                let number = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
                return (number(0), number(2), rest[4..size].to_vec());
            }
        }
    }

    async fn expect(&mut self, class: u16, method: u16) -> Vec<u8> {
        let (c, m, args) = self.answer().await;
        let said = String::from_utf8_lossy(&args);
        assert_eq!((c, m), (class, method), "the broker said {said:?}");
        args
    }

    /// Publishes. Whether the broker has it, [`Raw::confirmed`] tells.
    pub async fn publish(&mut self, exchange: &str, key: &[u8], properties: &[u8], body: &[u8]) {
        let to = [&[0, 0][..], &short(exchange.as_bytes()), &short(key), &[0]].concat();
        self.method(1, 60, 40, &to).await;
        let size = (body.len() as u64).to_be_bytes();
        let head = [&60_u16.to_be_bytes()[..], &[0, 0], &size, properties].concat();
        self.frame(2, 1, &head).await;
        for part in body.chunks(BODY_AT_ONCE) {
            self.frame(3, 1, part).await;
        }
        self.published += 1;
        self.open.insert(self.published);
        if self.open.len() >= OPEN_MAX {
            self.wait(OPEN_MAX / 2).await;
        }
    }

    /// Waits until the broker has all that was published.
    pub async fn confirmed(&mut self) {
        self.wait(0).await;
    }

    async fn wait(&mut self, left: usize) {
        while self.open.len() > left {
            let ack = self.expect(60, 80).await;
            let tag = u64::from_be_bytes(ack[..8].try_into().unwrap());
            if ack[8] & 1 == 1 {
                self.open = self.open.split_off(&(tag + 1));
            } else {
                self.open.remove(&tag);
            }
        }
    }

    /// Sends what is still in memory.
    pub async fn flush(&mut self) {
        self.stream.flush().await.unwrap();
    }
}
