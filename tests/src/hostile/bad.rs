//! Messages that are no jobs, in every way that a stranger can come up with.

use fastrand::Rng;

use crate::raw_amqp::{Properties, entry, long, nested};

/// A message as it goes out, and where to.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    /// Routing key.
    pub(super) key: Vec<u8>,
    /// Properties.
    pub(super) properties: Vec<u8>,
    /// Body.
    pub(super) body: Vec<u8>,
}

/// One message in so many is large in some way.
const LARGE_EVERY: u64 = 1000;
/// A frame's worth of tables within tables.
const TABLES: usize = 18_000;
/// Nested brackets, a frame's worth of them.
const BRACKETS: usize = 100_000;

/// What a message of a job's script looks like, before something is done to it.
struct Draft {
    n: u64,
    key: Vec<u8>,
    head: Properties,
    headers: Vec<u8>,
    body: Vec<u8>,
}

impl Draft {
    fn new(n: u64) -> Self {
        Self {
            n,
            key: b"default".to_vec(),
            head: Properties {
                content_type: Some(b"application/json".to_vec()),
                message_id: Some(format!("bad-{n}").into_bytes()),
                kind: Some(b"test.script".to_vec()),
                ..Properties::default()
            },
            headers: Vec::new(),
            body: format!("{{\"script\":[\"ok\"],\"n\":{n}}}").into_bytes(),
        }
    }

    fn header(&mut self, name: &[u8], kind: u8, value: &[u8]) {
        self.headers.extend(entry(name, kind, value));
    }

    fn text_header(&mut self, name: &str, value: &[u8]) {
        self.header(name.as_bytes(), b'S', &long(value));
    }

    fn done(mut self) -> Posted {
        self.head.headers = Some(self.headers);
        Posted {
            key: self.key,
            properties: self.head.bytes(),
            body: self.body,
        }
    }
}

type Spoil = fn(&mut Draft, &mut Rng);

/// Everything that is done to messages, each leaving one that cannot run.
const SPOILS: &[Spoil] = &[
    |d, rng| d.body = [&[0xfe][..], &noise(rng, 64), &d.n.to_be_bytes()].concat(),
    |d, _| d.body.truncate(d.body.len() - 1),
    |d, _| {
        d.head.content_type = Some(b"application/x-python-serialize".to_vec());
        d.body.splice(..0, *b"\x80\x04\x95");
    },
    |d, _| d.body.splice(12..12, *b"\xff\xc3").for_each(drop),
    |d, _| d.body = [&b"\"\\ud800 "[..], d.n.to_string().as_bytes(), b"\""].concat(),
    |d, _| d.body = [&b"["[..].repeat(200), d.n.to_string().as_bytes()].concat(),
    // The head.
    |d, _| d.head.kind = None,
    |d, _| d.head.kind = Some(b"Has Space".to_vec()),
    |d, _| d.head.kind = Some(b"caf\xe9".to_vec()),
    |d, _| d.head.kind = Some([&b"t"[..], &[b'x'; 200]].concat()),
    |d, _| d.head.message_id = Some(format!("no/id {}", d.n).into_bytes()),
    |d, _| d.head.message_id = Some([d.n.to_string().as_bytes(), b"\xff"].concat()),
    |d, _| d.head.correlation_id = Some(b"\xf0\x9f\x9a".to_vec()),
    |d, _| d.head.reply_to = Some(b"answers\x80".to_vec()),
    |d, _| {
        d.head.message_id = None;
        d.header(b"odd", b'V', b"");
    },
    // Headers that mean something.
    |d, _| d.header(b"attempt", b'l', &0_i64.to_be_bytes()),
    |d, _| d.header(b"attempt", b'l', &i64::MAX.to_be_bytes()),
    |d, _| d.header(b"attempt", b'I', &(-1_i32).to_be_bytes()),
    |d, _| d.text_header("fence", b"18446744073709551615"),
    |d, _| d.header(b"fence", b'l', &i64::MAX.to_be_bytes()),
    |d, _| d.text_header("timeout_ms", b"99999999999999999999999999999999"),
    |d, _| d.header(b"max_attempts", b'l', &i64::MAX.to_be_bytes()),
    |d, _| d.text_header("deadline", b"tomorrow"),
    |d, _| d.text_header("backoff", b"exponential(1s,1e309,1h)"),
    |d, _| d.text_header("tags", [&[b'a'; 65][..], b",b"].concat().as_slice()),
    // Headers that mean nothing.
    |d, _| d.header(b"odd", b'F', &nested(b'F', 7)),
    |d, _| d.header(b"odd", b'A', &nested(b'A', 300)),
    |d, _| d.header(b"odd", b'T', &u64::MAX.to_be_bytes()),
    |d, _| d.header(b"odd", b'D', b"\xff\xff\xff\xff\xff"),
    |d, _| d.header(b"odd", b'x', &long(b"bytes")),
    |d, _| d.text_header("odd", b"caf\xe9"),
    |d, _| d.header(b"caf\xe9", b't', &[1]),
    |d, _| (0..1000).for_each(|n| d.header(format!("h{n}").as_bytes(), b't', &[1])),
    // Where it goes.
    |d, _| d.key = b"Not.A.Queue!".to_vec(),
    |d, _| d.key = b"caf\xe9".to_vec(),
    |d, _| d.key = format!("nowhere-{}", d.n % 20).into_bytes(),
    |d, _| {
        d.key = format!("nowhere-{}.high", d.n % 20).into_bytes();
        d.body.truncate(9);
    },
    // Ids that others have.
    |d, _| d.head.message_id = Some(TAKEN.into()),
    |d, _| {
        d.head.message_id = Some(format!("twice-{}", d.n / 100).into_bytes());
        d.body = format!("{{{}", d.n).into_bytes();
    },
    |d, _| {
        d.key = b"nowhere".to_vec();
        d.head.message_id = Some(TAKEN.into());
    },
];

/// The id of a job that is there before all these.
pub(super) const TAKEN: &str = "taken";

/// Seldom, for they are large: but for the last, a frame is as large as it gets.
const LARGE: &[Spoil] = &[
    |d, _| d.body = b"[".repeat(BRACKETS),
    |d, _| {
        d.body = [
            &b"{\"a\":"[..].repeat(BRACKETS / 5),
            d.n.to_string().as_bytes(),
        ]
        .concat();
    },
    |d, _| d.text_header("long", &vec![b'x'; 100 * 1024]),
    |d, _| d.body = format!("\"{}{}\"", " ".repeat(256 * 1024), d.n).into_bytes(),
];

/// Bytes of messages that are much larger than any job.
const GIANTS: [usize; 3] = [1 << 20, 16 << 20, 64 << 20];
/// Messages whose headers nest deeply, of each kind.
const DEEP: u64 = 5;

/// What keeps the broker itself busy for so long that everything else has to wait: blanks without end,
/// and headers that nest as deep as they can. It measures what is in such a table anew for every level
/// (`iolist_size`), which takes it up to a second.
pub(super) fn heavy() -> Vec<Posted> {
    let giants = GIANTS.map(|size| {
        let mut draft = Draft::new(0);
        draft.head.message_id = Some(format!("giant-{size}").into_bytes());
        draft.body = vec![b' '; size];
        draft.done()
    });
    let deep = (0..DEEP).flat_map(|n| [(n, b'F'), (n, b'A')]);
    let deep = deep.map(|(n, kind)| {
        let mut draft = Draft::new(n);
        draft.head.message_id = Some(format!("deep-{kind}-{n}").into_bytes());
        draft.header(b"deep", kind, &nested(kind, TABLES));
        draft.done()
    });
    giants.into_iter().chain(deep).collect()
}

/// The `n`-th bad message: each has a body of its own.
pub(super) fn bad(n: u64) -> Posted {
    let mut draft = Draft::new(n);
    let mut rng = Rng::with_seed(n);
    let (spoils, turn) = match n % LARGE_EVERY {
        0 => (LARGE, n / LARGE_EVERY),
        _ => (SPOILS, n),
    };
    let turn = usize::try_from(turn).unwrap();
    spoils[turn % spoils.len()](&mut draft, &mut rng);
    draft.done()
}

fn noise(rng: &mut Rng, count: usize) -> Vec<u8> {
    (0..count).map(|_| rng.u8(..)).collect()
}
