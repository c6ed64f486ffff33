//! A client of the plain session, on one connection.

use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::TcpStream;

use super::cluster::{PASSWORD, USER};
use super::{Bytes, Counter};

pub(crate) struct Plain(BufReader<TcpStream>);

impl Plain {
    pub(crate) fn begin(address: &str) -> Plain {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let mut session = Plain(BufReader::with_capacity(256 << 10, stream));
        session.ask(b"HI\r\n\r\n", "S");
        session.ask(format!("{USER}\r\n{PASSWORD}\r\n\r\n").as_bytes(), "Welcome");
        session
    }

    pub(crate) fn store(&mut self, folder: &str, name: &str, bytes: u64) {
        let request = format!("STR\r\n{name}\r\n{folder}\r\n{bytes}\r\n\r\n");
        let mut message = request.into_bytes();
        let mut body = Bytes::new(bytes);
        // A small file leaves together with its head.
        body.by_ref().take(256 << 10).read_to_end(&mut message).expect("bytes");
        let stream = self.0.get_mut();
        stream.write_all(&message).expect("it is sent");
        copy(&mut body, stream).expect("it is sent");
        let answer = self.answer();
        assert!(answer.contains("successfully created"), "{answer}");
    }

    pub(crate) fn retrieve(&mut self, folder: &str, name: &str, bytes: u64) {
        let request = format!("RTV\r\n{name}\r\n{folder}\r\n\r\n");
        let said = self.ask(request.as_bytes(), "S\r\n");
        assert_eq!(said, format!("S\r\n{bytes}\r\n\r\n"));
        let mut counter = Counter::default();
        copy(&mut self.0.by_ref().take(bytes), &mut counter).expect("the file");
        assert_eq!(counter.0, bytes);
        let answer = self.answer();
        assert!(answer.contains("Successfully retrieved"), "{answer}");
    }

    fn ask(&mut self, message: &[u8], wanted: &str) -> String {
        self.0.get_mut().write_all(message).expect("it is sent");
        let answer = self.answer();
        assert!(answer.contains(wanted), "{answer}");
        answer
    }

    /// An answer up to its empty line.
    fn answer(&mut self) -> String {
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut answer).expect("an answer") > 0, "{answer}");
        }
        answer
    }
}
