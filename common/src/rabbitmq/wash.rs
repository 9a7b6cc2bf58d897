//! Makes a frame harmless that the client library could not read.
//!
//! To the broker, a short string is any bytes, and tables nest as deep as a frame is long. The
//! library takes short strings for UTF-8 and drops the whole connection where one is not, and it
//! runs out of stack, which ends the process, where tables nest deeply. The message would come
//! again, to the next worker. Here bytes that are no text become [`SUB`], and tables that are too
//! deep become plain bytes, which no job's header may be: no length changes, and whoever reads the
//! message finds it malformed.

/// Stands for a byte that was no text: ASCII's own "substitute".
pub(super) const SUB: u8 = 0x1a;
/// Tables and arrays within each other; the broker's own `x-death` has two.
const DEPTH_MAX: usize = 8;

/// What kind of frame it is.
pub(super) const METHOD: u8 = 1;
/// See [`METHOD`].
pub(super) const HEADER: u8 = 2;

/// Class `basic`, method `deliver`: the one method that brings text from strangers.
const DELIVER: [u8; 4] = [0, 60, 0, 60];

/// Washes the payload of a frame, in place. What is not as it should be is left alone.
pub(super) fn wash(kind: u8, payload: &mut [u8]) {
    let mut left = Left {
        bytes: payload,
        at: 0,
    };
    // Where it ends early, the library says what is wrong.
    let _ = match kind {
        METHOD => left.method(),
        HEADER => left.header(),
        _ => None,
    };
}

/// A payload, and how far it is washed.
struct Left<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Left<'_> {
    fn take(&mut self, count: usize) -> Option<&mut [u8]> {
        let end = self.at.checked_add(count)?;
        let part = self.bytes.get_mut(self.at..end)?;
        self.at = end;
        Some(part)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    fn length(&mut self) -> Option<usize> {
        let bytes = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(bytes)).ok()
    }

    fn method(&mut self) -> Option<()> {
        if *self.take(4)? != DELIVER {
            return None;
        }
        self.short()?; // consumer tag
        self.skip(8 + 1)?; // delivery tag, redelivered
        self.short()?; // exchange
        self.short() // routing key
    }

    fn header(&mut self) -> Option<()> {
        self.skip(2 + 2 + 8)?; // class, weight, size of the body
        let flags = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        for bit in (2..16).rev().filter(|bit| flags >> bit & 1 == 1) {
            match bit {
                13 => self.table(0)?,     // headers
                11 | 12 => self.skip(1)?, // priority, delivery mode
                6 => self.skip(8)?,       // timestamp
                _ => self.short()?,
            }
        }
        Some(())
    }

    fn short(&mut self) -> Option<()> {
        let length = self.take(1)?[0];
        replace_what_is_no_text(self.take(length.into())?);
        Some(())
    }

    fn table(&mut self, depth: usize) -> Option<()> {
        let end = self.length()?.checked_add(self.at)?;
        while self.at < end {
            self.short()?;
            self.value(depth)?;
        }
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        let end = self.length()?.checked_add(self.at)?;
        while self.at < end {
            self.value(depth)?;
        }
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        let kind = self.take(1)?;
        if depth >= DEPTH_MAX && matches!(kind[0], b'A' | b'F') {
            kind[0] = b'x';
        }
        match kind[0] {
            b'A' => self.array(depth + 1),
            b'F' => self.table(depth + 1),
            b'S' | b'x' => {
                let length = self.length()?;
                self.skip(length)
            }
            b't' | b'b' | b'B' => self.skip(1),
            b's' | b'U' | b'u' => self.skip(2),
            b'I' | b'i' | b'f' => self.skip(4),
            b'D' => self.skip(5),
            b'l' | b'L' | b'd' | b'T' => self.skip(8),
            b'V' => Some(()),
            _ => None,
        }
    }
}

fn replace_what_is_no_text(bytes: &mut [u8]) {
    let mut from = 0;
    while let Err(error) = str::from_utf8(&bytes[from..]) {
        from += error.valid_up_to();
        bytes[from] = SUB;
        from += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_replaced_one_by_one() {
        let mut bytes = *b"caf\xe9 \xc3\xa9\xf0\x9f";
        replace_what_is_no_text(&mut bytes);
        assert_eq!(&bytes, b"caf\x1a \xc3\xa9\x1a\x1a");
    }

    #[test]
    fn a_routing_key_is_washed_and_other_methods_are_not() {
        let deliver =
            |key: u8| [&DELIVER[..], b"\x01c\0\0\0\0\0\0\0\x01\0\x01x\x01", &[key]].concat();
        let mut frame = deliver(0xff);
        wash(METHOD, &mut frame);
        assert_eq!(frame, deliver(SUB));
        let mut other = b"\0\x3c\0\x50\x01\xff".to_vec();
        wash(METHOD, &mut other);
        assert_eq!(other, b"\0\x3c\0\x50\x01\xff");
    }

    #[test]
    fn a_table_that_is_too_deep_becomes_bytes() {
        let mut value = vec![0, 0, 0, 0];
        for _ in 0..=DEPTH_MAX {
            let length = u32::try_from(value.len() + 3).unwrap().to_be_bytes();
            value = [&length[..], b"\x01nF", &value].concat();
        }
        let head = [&[0; 12][..], &[1 << (13 - 8), 0]].concat();
        let mut frame = [&head[..], &value].concat();
        wash(HEADER, &mut frame);
        let kinds = |kind: u8| frame.iter().filter(|byte| **byte == kind).count();
        assert_eq!((kinds(b'F'), kinds(b'x')), (DEPTH_MAX, 1));
    }
}
