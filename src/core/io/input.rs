//! What has arrived on a connection and has not been used yet.
//!
//! One buffer, zeroed once and used for everything that a connection reads: lines, heads, and the
//! bytes of files, which are used where they lie. A reader says how much it needs at least and how
//! much may come at most; as it asks for no more than one chunk and the next one's head, what has
//! to be moved to the front of the buffer is never more than that head.

use crate::core::error::Result;
use crate::core::io::net::{Deadline, Stream};

/// Bytes that wait to be used, in the order in which they came.
#[derive(Debug)]
pub struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// An empty input with room for `capacity` waiting bytes.
    pub fn new(capacity: usize) -> Input {
        Input { buffer: vec![0; capacity], start: 0, end: 0 }
    }

    /// The bytes that wait.
    pub fn waiting(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The first `count` bytes of those that wait.
    pub fn used(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Waits until at least `least` bytes wait, taking at most `most` if more are there. Both count
    /// what waits already and are at most the capacity.
    ///
    /// # Errors
    /// Those of [`Stream::read_some`]; [`Closed`](crate::core::error::Error::Closed) if the peer
    /// closes before.
    pub fn fill(
        &mut self,
        stream: &mut Stream,
        least: usize,
        most: usize,
        deadline: &Deadline,
    ) -> Result<()> {
        debug_assert!(least <= most && most <= self.buffer.len());
        while self.end - self.start < least {
            self.make_room(most);
            let room = &mut self.buffer[self.end..self.start + most];
            match stream.read_some(room, deadline)? {
                0 => return Err(stream.closed()),
                count => self.end += count,
            }
        }
        Ok(())
    }

    /// Waits for one more byte at least.
    ///
    /// # Errors
    /// As [`Input::fill`].
    pub fn more(&mut self, stream: &mut Stream, deadline: &Deadline) -> Result<()> {
        self.fill(stream, self.waiting().len() + 1, self.buffer.len(), deadline)
    }

    /// Takes what is there without waiting.
    ///
    /// # Errors
    /// As [`Input::fill`].
    pub fn ready(&mut self, stream: &mut Stream) -> Result<()> {
        self.make_room(self.buffer.len());
        if self.end == self.buffer.len() {
            return Ok(());
        }
        match stream.read_ready(&mut self.buffer[self.end..])? {
            Some(0) => Err(stream.closed()),
            Some(count) => {
                self.end += count;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Moves what waits to the front unless `size` bytes fit where it is.
    fn make_room(&mut self, size: usize) {
        if self.start + size > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn bytes_come_out_in_order_whatever_is_asked_for() {
        const SOON: Deadline = Deadline::new(Duration::from_secs(5), "answer");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut near = Stream::connect("server", &address, &SOON).unwrap();
        let mut far = Stream::accepted(listener.accept().unwrap().0, "client").unwrap();
        let sent: Vec<u8> = (0..=255).cycle().take(1000).collect();
        far.write_all(&[&sent], &SOON).unwrap();
        far.shutdown();
        let mut input = Input::new(64);
        let mut got = Vec::new();
        for least in [1, 10, 64, 33, 7].into_iter().cycle().take_while(|_| true) {
            let least = least.min(1000 - got.len());
            input.fill(&mut near, least, 64, &SOON).unwrap();
            got.extend_from_slice(&input.waiting()[..least]);
            input.used(least);
            if got.len() == 1000 {
                break;
            }
        }
        assert_eq!(got, sent);
        assert!(input.ready(&mut near).is_err());
        assert!(input.more(&mut near, &SOON).is_err());
    }
}
