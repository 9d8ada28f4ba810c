//! Cuts a stream of bytes into lines, whatever pieces it comes in.
//!
//! Memory is bounded by the longest line allowed: a longer one is cut one byte beyond the limit, so that the
//! decoder refuses it as too large, and its rest is skipped. It must never hold two lines, nor lose one.

use crate::flow::{Lane, Origin, Record, Time, Traced};

/// Cuts bytes into numbered lines.
pub(crate) struct Lines {
    limit: usize,
    line: Vec<u8>,
    started: bool,
    number: i64,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Lines {
    /// Lines of at most `limit` bytes, and one more for those that are longer; numbers rise from 0.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), started: false, number: 0 }
    }

    /// The number of the next line.
    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// Takes the next piece and gives out every line that it ends, without its line ending. Blank lines are
    /// counted but not given out.
    pub(crate) fn feed(&mut self, piece: &[u8], mut emit: impl FnMut(i64, Vec<u8>)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = self.limit.saturating_add(1).saturating_sub(self.line.len());
            self.line.extend_from_slice(text.get(..room).unwrap_or(text));
            self.started = true;
            if ends {
                self.end(&mut emit);
            }
        }
    }

    /// The stream has ended: what is left is a line too, even without an end.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(i64, Vec<u8>)) {
        if self.started {
            self.end(&mut emit);
        }
    }

    fn end(&mut self, emit: &mut impl FnMut(i64, Vec<u8>)) {
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') && line.len() <= self.limit {
            line.pop();
        }
        if self.number == 0 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            emit(self.number, line);
        }
        self.number += 1;
        self.started = false;
    }
}

/// A line as a record: it has no key. `time` is when it came, for a line that does not say when it happened.
pub(crate) fn record(lane: &Lane, number: i64, time: Time, text: Vec<u8>) -> Traced<Record> {
    let origin = Origin { lane: lane.clone(), offset: number, time };
    Traced { origin, value: Record { key: None, payload: Some(text), headers: Vec::new() } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(limit: usize, pieces: &[&[u8]]) -> Vec<(i64, String)> {
        let mut lines = Lines::new(limit);
        let mut out = Vec::new();
        let mut emit = |number, line| out.push((number, String::from_utf8(line).unwrap()));
        for piece in pieces {
            lines.feed(piece, &mut emit);
        }
        lines.finish(&mut emit);
        out
    }

    fn owned(lines: &[(i64, &str)]) -> Vec<(i64, String)> {
        lines.iter().map(|(number, line)| (*number, (*line).to_owned())).collect()
    }

    #[test]
    fn pieces_do_not_matter() {
        let text = b"one\r\n\n  \ntwo\nthree";
        let expected = owned(&[(0, "one"), (3, "two"), (4, "three")]);
        for size in 1..=text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(cut(100, &pieces), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_long_line_is_cut_one_byte_beyond_the_limit() {
        let expected = owned(&[(0, "abcd"), (1, "abcde"), (2, "xy")]);
        assert_eq!(cut(4, &[b"abcd\nabcd", b"efghij", b"klm\nxy\n"]), expected);
    }

    #[test]
    fn a_long_line_takes_no_more_memory_than_the_limit() {
        let mut lines = Lines::new(10);
        for _ in 0..10_000 {
            lines.feed(&[b'x'; 1_000], |_, _| unreachable!());
        }
        assert!(lines.line.capacity() < 1_100);
    }

    #[test]
    fn a_byte_order_mark_is_no_text_and_an_empty_end_no_line() {
        assert_eq!(cut(100, &[b"\xef\xbb\xbfone\n"]), owned(&[(0, "one")]));
        assert_eq!(cut(100, &[b""]), owned(&[]));
        assert_eq!(cut(100, &[b"\n\n"]), owned(&[]));
    }
}
