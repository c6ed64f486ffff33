//! The asker's half of the file request (`wire::request`): one file, with everything checked that the
//! answer says. Nobody signs in for it.

use std::io::Write;
use std::time::Duration;

use crate::core::error::{Error, Result};
use crate::core::io::net::{Deadline, Stream};
use crate::core::wire::request::{RESPONSE_HEAD_BYTES, Response, encode_request};

const CONNECT: Deadline = Deadline::new(Duration::from_secs(10), "answer");
const SEND: Deadline = Deadline::new(Duration::from_secs(10), "take the request");

/// For each read.
const READ: Deadline = Deadline::new(Duration::from_secs(1), "send anything");

const READ_BYTES: usize = 64 * 1024;

/// What an answer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Requested {
    /// All bytes of the file were written, so many.
    Whole(u32),
    /// The server has no such file, or cannot read it.
    Missing,
}

/// Asks `HOST:PORT` for a file and writes it to `out`.
///
/// # Errors
/// [`Error::Protocol`] if the name cannot be asked for, the answer is none, or more bytes come than it
/// announces; [`Error::Damaged`] if fewer do; [`Error::Deadline`],
/// [`Code::Unreachable`](crate::core::error::Code::Unreachable); those of writing.
pub fn request(address: &str, name: &str, out: &mut dyn Write) -> Result<Requested> {
    let question = encode_request(name)?;
    let mut stream = Stream::connect("server", address, &CONNECT)?;
    stream.write_all(&[&question], &SEND)?;
    let mut head = [0; RESPONSE_HEAD_BYTES];
    stream.read_exact(&mut head, &READ)?;
    let length = match Response::decode(&head)? {
        Response::Found(length) => length,
        Response::Missing => return Ok(Requested::Missing),
    };
    let mut buffer = vec![0; READ_BYTES];
    let mut left = u64::from(length);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
        let count = match stream.read_some(&mut buffer[..most], &READ) {
            Ok(0) | Err(Error::Closed(_)) => return Err(too_few(length, left)),
            Ok(count) => count,
            Err(error) => return Err(error),
        };
        out.write_all(&buffer[..count]).map_err(Error::io("cannot write the file"))?;
        left -= count as u64;
    }
    // What it goes on with after all that it has announced is not known to belong to the file.
    match stream.read_some(&mut buffer[..1], &READ) {
        Ok(0) | Err(_) => Ok(Requested::Whole(length)),
        Ok(_) => {
            let what = format!("more bytes came than the {length} that were announced");
            Err(Error::Protocol(what))
        }
    }
}

fn too_few(length: u32, left: u64) -> Error {
    let came = u64::from(length) - left;
    Error::Damaged(format!("only {came} of {length} bytes came"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::Code;
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    /// What comes of an answer of these bytes.
    fn answered(bytes: &'static [u8]) -> (Result<Requested>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut question = [0; 10];
            socket.read_exact(&mut question).unwrap();
            assert_eq!(&question, b"\x49\x7e\x01\x00\x05a.txt");
            socket.write_all(bytes).unwrap();
        });
        let mut out = Vec::new();
        let outcome = request(&address, "a.txt", &mut out);
        server.join().unwrap();
        (outcome, out)
    }

    #[test]
    fn spec_5_the_client_checks_the_fields_of_the_answer() {
        let (outcome, out) = answered(b"\x49\x7e\x02\x01\x00\x00\x00\x05hello");
        assert_eq!((outcome.unwrap(), &out[..]), (Requested::Whole(5), &b"hello"[..]));
        let (outcome, _) = answered(b"\x49\x7e\x02\x01\x00\x00\x00\x00");
        assert_eq!(outcome.unwrap(), Requested::Whole(0));
        let (outcome, _) = answered(b"\x49\x7e\x02\x00\x00\x00\x00\x00");
        assert_eq!(outcome.unwrap(), Requested::Missing);
        for (answer, code, why) in [
            (&b"\x49\x7f\x02\x01\x00\x00\x00\x05hello"[..], Code::Version, "begins with"),
            (b"\x49\x7e\x01\x01\x00\x00\x00\x05hello", Code::Version, "type 1"),
            (b"\x49\x7e\x02\x07\x00\x00\x00\x05hello", Code::Version, "status 7"),
            (b"\x49\x7e\x02\x00\x00\x00\x00\x05", Code::Version, "announces 5 bytes"),
            (b"\x49\x7e\x02\x01\x00\x00\x00\x09hello", Code::Damaged, "only 5 of 9 bytes"),
            (b"\x49\x7e\x02\x01\x00\x00\x00\x04hello", Code::Version, "more bytes came than the 4"),
            (b"\x49\x7e\x02", Code::Unreachable, "closed"),
        ] {
            let error = answered(answer).0.unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
