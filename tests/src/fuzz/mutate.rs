//! Makes inputs: takes one that is right, or nearly so, and does a few things to it.

use fastrand::Rng;

/// Where a target's inputs come from.
pub(super) struct Source {
    /// Inputs that are right, or wrong in a way worth starting from.
    pub(super) corpus: Vec<Vec<u8>>,
    /// What the grammar is made of.
    pub(super) words: &'static [&'static str],
    /// Makes an input from nothing, for what mutations alone would not come to.
    pub(super) make: Option<fn(&mut Rng) -> Vec<u8>>,
    /// Keeps the length of most inputs, for formats that are full of offsets.
    pub(super) keeps_length: bool,
}

/// One input in so many may be large: they cost a hundred times as much as others.
const LARGE_EVERY: u32 = 2000;
/// How deep the deepest nesting goes.
const DEPTH: usize = 100_000;
/// Numbers at which something may tip over.
const EDGES: &[&str] = &[
    "0",
    "-1",
    "1e309",
    "00",
    "255",
    "65536",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999999999999999999999",
    "0.000000000000000000000000000000001",
    "NaN",
    "inf",
    "0x10",
    "+5",
    "１２",
];
/// Bytes that are no text, or odd text.
const ODD: &[&[u8]] = &[
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\0",
    b"\x1a",
    "\u{202e}".as_bytes(),
    "\u{feff}".as_bytes(),
    "e\u{301}".as_bytes(),
    "İ".as_bytes(),
    "🚚".as_bytes(),
    b"\r\n",
    b"\x7f",
];

impl Source {
    pub(super) fn of_text(corpus: &[&str], words: &'static [&'static str]) -> Self {
        Self {
            corpus: corpus.iter().map(|text| text.as_bytes().to_vec()).collect(),
            words,
            make: None,
            keeps_length: false,
        }
    }

    pub(super) fn input(&self, rng: &mut Rng) -> Vec<u8> {
        let mut input = match self.make {
            Some(make) if rng.bool() => make(rng),
            _ => self.pick(rng).to_vec(),
        };
        if rng.u32(..LARGE_EVERY) == 0 && !self.keeps_length {
            return large(rng, &input);
        }
        // One in four or so stays as it is, or nearly.
        for _ in 0..rng.u32(..5) {
            self.mutate(rng, &mut input);
        }
        input
    }

    fn pick(&self, rng: &mut Rng) -> &[u8] {
        &self.corpus[rng.usize(..self.corpus.len())]
    }

    fn mutate(&self, rng: &mut Rng, input: &mut Vec<u8>) {
        if input.is_empty() {
            return input.push(rng.u8(..));
        }
        let at = rng.usize(..input.len());
        match rng.u8(..if self.keeps_length { 4 } else { 14 }) {
            0 => input[at] ^= 1 << rng.u8(..8),
            1 => input[at] = rng.u8(..),
            2 => {
                let end = (at + rng.usize(1..=16)).min(input.len());
                rng.fill(&mut input[at..end]);
            }
            3 => self.copy_over(rng, input, at),
            4 => input.truncate(at),
            5 => drop(input.drain(at..(at + rng.usize(1..=8)).min(input.len()))),
            6 => {
                let end = (at + rng.usize(1..=32)).min(input.len());
                let again = input[at..end].to_vec();
                insert(input, at, &again);
            }
            7 => insert(input, at, &[rng.u8(..)]),
            8 => insert(input, at, ODD[rng.usize(..ODD.len())]),
            9 => replace_number(rng, input, at),
            10 => {
                // The head of this one and the tail of another.
                let other = self.pick(rng);
                let from = rng.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ if self.words.is_empty() => input[at] = rng.u8(..),
            _ => {
                let word = self.words[rng.usize(..self.words.len())];
                insert(input, at, word.as_bytes());
            }
        }
    }

    /// Part of another input, in place.
    fn copy_over(&self, rng: &mut Rng, input: &mut [u8], at: usize) {
        let other = self.pick(rng);
        let from = rng.usize(..=other.len());
        let longest = (other.len() - from).min(input.len() - at);
        let len = rng.usize(..=longest.min(512));
        input[at..at + len].copy_from_slice(&other[from..from + len]);
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    drop(input.splice(at..at, bytes.iter().copied()));
}

/// The digits from `at` on become a number at an edge.
fn replace_number(rng: &mut Rng, input: &mut Vec<u8>, at: usize) {
    let start = (at..input.len()).find(|n| input[*n].is_ascii_digit());
    let start = start.unwrap_or(at);
    let end = (start..input.len())
        .find(|n| !input[*n].is_ascii_digit())
        .unwrap_or(input.len());
    let edge = EDGES[rng.usize(..EDGES.len())].bytes();
    drop(input.splice(start..end, edge));
}

/// Deep nesting, a long run, or many copies.
fn large(rng: &mut Rng, input: &[u8]) -> Vec<u8> {
    let open = [
        &b"["[..],
        b"{\"a\":",
        b"(",
        b"[[",
        b"{a=[",
        b"*1\r\n",
        b"A\0\0\0\x05",
    ];
    let at = rng.usize(..=input.len());
    let (head, tail) = input.split_at(at);
    let middle = match rng.u8(..3) {
        0 => open[rng.usize(..open.len())].repeat(DEPTH),
        1 => vec![rng.u8(..); rng.usize(..300_000)],
        _ => input.repeat(200_000 / (input.len() + 1)),
    };
    [head, &middle, tail].concat()
}
