//! What has arrived and has not been understood yet.
//!
//! Invariants: bytes leave in the order in which they came, each exactly once; nothing here looks
//! twice at a byte while searching for a message's end, so a peer that sends one byte at a time
//! costs no more than one that sends all at once.

use crate::core::wire::lines::{CRLF, MESSAGE_BYTES_MAX};

/// An empty line, seen from the line before it.
const EMPTY_LINE: &[u8] = b"\r\n\r\n";

/// Bytes from the client, taken from the front.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// Where what is left begins.
    start: usize,
    /// How far, counted from `start`, there is no empty line.
    searched: usize,
}

impl Input {
    /// Adds what has just arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // What is left here is at most one unfinished message, so this moves every byte once.
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Do more bytes wait than a message may have?
    pub(super) fn is_over_limit(&self) -> bool {
        self.len() > MESSAGE_BYTES_MAX
    }

    /// As much as a message may have. Whoever decides by this alone decides the same however the
    /// bytes were cut, also about messages that are too long.
    pub(super) fn window(&self) -> &[u8] {
        let end = self.bytes.len().min(self.start + MESSAGE_BYTES_MAX);
        &self.bytes[self.start..end]
    }

    /// How many bytes there are up to and including the first empty line of the window.
    pub(super) fn end_of_message(&mut self) -> Option<usize> {
        if self.window().starts_with(CRLF.as_bytes()) {
            return Some(CRLF.len());
        }
        let from = self.searched.saturating_sub(EMPTY_LINE.len() - 1);
        let window = self.window();
        let found = window[from.min(window.len())..]
            .windows(EMPTY_LINE.len())
            .position(|four| four == EMPTY_LINE)
            .map(|at| from + at + EMPTY_LINE.len());
        // An end that was found is found again until it is taken.
        self.searched = found.map_or(window.len(), |end| end - 1);
        found
    }

    /// Drops `count` bytes (or what there is) from the front.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.bytes.len().min(self.start + count);
        self.searched = 0;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Takes up to `max` bytes from the front.
    pub(super) fn take(&mut self, max: u64) -> Vec<u8> {
        let count = usize::try_from(max).unwrap_or(usize::MAX).min(self.len());
        let taken = self.bytes[self.start..self.start + count].to_vec();
        self.consume(count);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_and_once() {
        let mut input = Input::default();
        input.push(b"abc");
        input.consume(1);
        input.push(b"def");
        assert_eq!(input.take(2), b"bc");
        assert_eq!(input.take(u64::MAX), b"def");
        assert_eq!(input.len(), 0);
    }

    #[test]
    fn the_end_of_a_message_is_found_wherever_it_was_cut() {
        let bytes = b"a\r\nb\r\n\r\nc\r\n\r\n";
        for cut in 0..=bytes.len() {
            let mut input = Input::default();
            input.push(&bytes[..cut]);
            assert_eq!(input.end_of_message().is_some(), cut >= 8, "cut at {cut}");
            input.push(&bytes[cut..]);
            assert_eq!(input.end_of_message(), Some(8));
            input.consume(8);
            assert_eq!(input.end_of_message(), Some(5));
        }
    }

    #[test]
    fn an_empty_line_at_the_front_is_an_end() {
        let mut input = Input::default();
        input.push(b"\r\nabc");
        assert_eq!(input.end_of_message(), Some(2));
    }

    #[test]
    fn an_end_beyond_the_limit_does_not_exist() {
        let mut input = Input::default();
        input.push(&vec![b'a'; MESSAGE_BYTES_MAX - 3]);
        input.push(b"\r\n\r\n");
        assert!(input.is_over_limit());
        assert_eq!(input.end_of_message(), None);
    }
}
