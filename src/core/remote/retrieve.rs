//! Retrieving: the server's chunks, checked and written where they lie in the input.
//!
//! The sink has the right bytes only once [`Remote::retrieve`] has succeeded: until then they are
//! bytes on probation, and the caller must not show them under the file's name.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use super::{ANSWER, Progress, Remote, Retrieved, Selection};
use crate::core::error::{Code, Error, Result};
use crate::core::io::net::Deadline;
use crate::core::io::reason;
use crate::core::path::FilePath;
use crate::core::range::ByteRange;
use crate::core::types::{Digest, NodeId, NodeSet};
use crate::core::wire::chunk::{self, HEAD_BYTES, Head};
use crate::core::wire::extended::{Request, attributes, field};

const MORE: Deadline = Deadline::new(Duration::from_secs(30), "send more of the file");

const DIGEST_BYTES: usize = 32;

impl Remote {
    /// Writes the bytes of a file that are wanted to `sink`. `watch` is called as they are written.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`]; [`Code::Usage`] if the file has nothing of the range; [`Code::Damaged`] if what arrived is not what was stored, in which
    /// case the sink's content is worthless; [`Code::LocalFile`] if the sink cannot take them
    /// ([`Error::Io`] of the kind `BrokenPipe` if its reader has gone), after which the connection
    /// is unusable; those of any request.
    pub fn retrieve(
        &mut self,
        path: &FilePath,
        wanted: &Selection,
        sink: &mut dyn Write,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Retrieved> {
        self.retrieve_announced(path, wanted, &mut |_| {}, sink, watch)
    }

    /// The same; `announce` hears what comes before its first byte does.
    ///
    /// # Errors
    /// As [`Remote::retrieve`].
    pub fn retrieve_announced(
        &mut self,
        path: &FilePath,
        wanted: &Selection,
        announce: &mut dyn FnMut(&Retrieved),
        sink: &mut dyn Write,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Retrieved> {
        let Selection { which, range } = wanted.clone();
        let fields = self.request(&Request::Retrieve { path: path.clone(), which, range })?;
        let announced = announced(&fields, range);
        let mut retrieved = self.keep(announced)?;
        announce(&retrieved);
        let length = retrieved.part.end - retrieved.part.start;
        let digest = self.take_file(length, sink, watch)?;
        // The reply is taken first, so that the connection stays usable after a wrong digest.
        let message = self.message(&ANSWER)?;
        let fields = self.reply(&message)?;
        retrieved.nodes = parse_nodes(&field::<String>(&fields, "nodes")?)?;
        if range.is_none() && digest != retrieved.blake3 {
            return Err(Error::Damaged("their BLAKE3 digest differs".into()));
        }
        sink.flush().map_err(sink_failed)?;
        Ok(retrieved)
    }

    /// Takes all chunks; gives the digest of what was written if the sender's is the same.
    fn take_file(
        &mut self,
        total: u64,
        sink: &mut dyn Write,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        loop {
            let result = match self.head()? {
                Head::Data { length, .. } if bytes + length as u64 > total => {
                    Err(Error::Damaged(format!("more than the announced {total} bytes")))
                }
                Head::Data { length, checksum } => {
                    bytes += length as u64;
                    self.take_piece(length, checksum, &mut hasher, sink)
                }
                Head::End { checksum } => return self.take_end(checksum, &hasher, bytes, total),
                Head::GivenUp => {
                    let message = self.message(&ANSWER)?;
                    self.reply(&message)?;
                    Err(Error::Protocol("the server gave up without a reason".into()))
                }
            };
            // Nobody takes what is still to come.
            self.keep(result)?;
            watch(Progress { bytes, total, committing: false });
        }
    }

    fn head(&mut self) -> Result<Head> {
        let filled = self.input.fill(&mut self.stream, HEAD_BYTES, HEAD_BYTES, &MORE);
        self.keep(filled)?;
        let mut head = [0; HEAD_BYTES];
        head.copy_from_slice(&self.input.waiting()[..HEAD_BYTES]);
        self.input.used(HEAD_BYTES);
        let head = chunk::decode_head(&head);
        self.keep(head)
    }

    fn take_piece(
        &mut self,
        length: usize,
        checksum: u64,
        hasher: &mut blake3::Hasher,
        sink: &mut dyn Write,
    ) -> Result<()> {
        // With the next chunk's head if it is there: one system call less for each chunk.
        self.input.fill(&mut self.stream, length, length + HEAD_BYTES, &MORE)?;
        let piece = &self.input.waiting()[..length];
        chunk::verify(piece, checksum)?;
        hasher.update(piece);
        sink.write_all(piece).map_err(sink_failed)?;
        self.input.used(length);
        Ok(())
    }

    fn take_end(
        &mut self,
        checksum: u64,
        hasher: &blake3::Hasher,
        bytes: u64,
        total: u64,
    ) -> Result<Digest> {
        let filled = self.input.fill(&mut self.stream, DIGEST_BYTES, DIGEST_BYTES, &MORE);
        self.keep(filled)?;
        let mut sent = Digest([0; DIGEST_BYTES]);
        sent.0.copy_from_slice(&self.input.waiting()[..DIGEST_BYTES]);
        self.input.used(DIGEST_BYTES);
        let verified = chunk::verify(&sent.0, checksum);
        self.keep(verified)?;
        if bytes != total {
            let text = format!("{bytes} instead of the announced {total} bytes");
            return self.keep(Err(Error::Damaged(text)));
        }
        let computed = Digest(*hasher.finalize().as_bytes());
        if sent == computed {
            Ok(computed)
        } else {
            self.keep(Err(Error::Damaged("their BLAKE3 digest differs".into())))
        }
    }
}

/// What the server says of a file before its bytes. That it sends what was asked for is checked.
fn announced(fields: &[String], range: Option<ByteRange>) -> Result<Retrieved> {
    let lines: Vec<&str> = fields.iter().map(String::as_str).collect();
    let (attributes, _) = attributes::split_off(&lines)?;
    let bytes = field(fields, "bytes")?;
    let part = match range {
        None => 0..bytes,
        Some(range) => {
            let asked = range.within(bytes)?;
            let [from, length] = ["from", "length"].map(|key| field::<u64>(fields, key));
            if (from?, length?) != (asked.start, asked.end - asked.start) {
                return Err(Error::Protocol("the server sends another range".into()));
            }
            asked
        }
    };
    Ok(Retrieved {
        bytes,
        part,
        version: field(fields, "version")?,
        blake3: field(fields, "blake3")?,
        stored_ms: field(fields, "stored_ms")?,
        attributes,
        nodes: NodeSet::EMPTY,
    })
}

/// An error of the place that the bytes go to. A reader that has gone is passed on as it is, since
/// for `| head` it is no failure.
fn sink_failed(error: std::io::Error) -> Error {
    if error.kind() == ErrorKind::BrokenPipe {
        return Error::io("cannot write the file")(error);
    }
    Error::other(Code::LocalFile, format!("cannot write the file: {}", reason(&error)))
}

/// Reads `1,4`.
fn parse_nodes(text: &str) -> Result<NodeSet> {
    let parse = |number: &str| {
        number.parse::<NodeId>().map_err(|why| Error::Protocol(format!("nodes: {why}")))
    };
    text.split(',').filter(|number| !number.is_empty()).map(parse).collect()
}
