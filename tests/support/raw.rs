//! A client of the specified session that is nothing but a socket, and files that say themselves
//! whether they are whole.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Cluster, noise};

/// A signed-in connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) fn sign_in(cluster: &Cluster) -> Raw {
        Raw { stream: cluster.signed_in() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// One message of the server, without the empty line at its end.
    pub(crate) fn message(&mut self) -> String {
        let mut got = Vec::new();
        let mut byte = [0];
        while !got.ends_with(b"\r\n\r\n") {
            if let Err(error) = self.stream.read_exact(&mut byte) {
                panic!("{error} after {:?}", String::from_utf8_lossy(&got));
            }
            got.push(byte[0]);
        }
        got.truncate(got.len() - 4);
        String::from_utf8(got).unwrap()
    }

    /// A reply: the text, or the error's text.
    pub(crate) fn reply(&mut self) -> Result<String, String> {
        let message = self.message();
        match message.split_once("\r\n") {
            Some(("S", text)) => Ok(text.to_owned()),
            Some(("E", text)) => Err(text.to_owned()),
            _ => panic!("{message:?} is no reply"),
        }
    }

    /// The head of a store.
    pub(crate) fn store_head(name: &str, path: &str, size: impl std::fmt::Display) -> Vec<u8> {
        format!("STR\r\n{name}\r\n{path}\r\n{size}\r\n\r\n").into_bytes()
    }

    pub(crate) fn store(&mut self, name: &str, path: &str, bytes: &[u8]) -> Result<String, String> {
        let mut all = Raw::store_head(name, path, bytes.len());
        all.extend_from_slice(bytes);
        self.send(&all);
        self.reply()
    }

    pub(crate) fn ask_for(&mut self, name: &str, path: &str) {
        self.send(format!("RTV\r\n{name}\r\n{path}\r\n\r\n").as_bytes());
    }

    pub(crate) fn retrieve(&mut self, name: &str, path: &str) -> Result<Vec<u8>, String> {
        self.ask_for(name, path);
        let size = self.reply()?;
        let mut bytes = vec![0; size.parse().unwrap()];
        self.stream.read_exact(&mut bytes).unwrap();
        let said = self.reply().unwrap();
        assert_eq!(said, format!("Successfully retrieved file {name} from the file system"));
        Ok(bytes)
    }

    pub(crate) fn delete(&mut self, name: &str, path: &str) -> Result<String, String> {
        self.send(format!("DEL\r\n{name}\r\n{path}\r\n\r\n").as_bytes());
        self.reply()
    }

    pub(crate) fn list(&mut self) -> String {
        self.send(b"INF\r\n\r\n");
        self.reply().unwrap()
    }
}

/// Bytes that say which version they are: a seed, and the noise that follows from it.
pub(crate) fn describing(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = seed.to_le_bytes().to_vec();
    bytes.extend(noise(seed, length - 8));
    bytes
}

/// The seed of bytes that are one whole version.
pub(crate) fn seed_of(bytes: &[u8]) -> u64 {
    let seed = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert!(bytes == describing(seed, bytes.len()), "{} bytes are mixed or cut", bytes.len());
    seed
}
