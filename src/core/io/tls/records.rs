//! One step of the encryption: records made of content, and content of records.
//!
//! Whatever the library asks for in between (its own messages, a change of keys) is done here; what
//! has to be sent is put where the caller sends from before it waits for anything.

use rustls::CommonState;
use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use crate::core::io::pages::Pages;

/// The most bytes of content in a record.
pub(super) const RECORD_CONTENT: usize = 16 * 1024;

/// More than the longest record has.
pub(super) const RECORD_MAX: usize = RECORD_CONTENT + 64;

/// Room for what leaves in one write. The peer opens it while more is sealed, and it stays in the
/// processor's cache until it is sent.
pub(super) const OUTGOING_BYTES: usize = 8 * RECORD_MAX;

/// More than anything that the library has to say: a chain of certificates from a file.
const OUTGOING_BYTES_MAX: usize = 2 << 20;

/// Which end of the connection this is.
pub(super) enum End {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// What a step is to do once the handshake is done.
pub(super) enum Task<'a> {
    /// Open records into the buffer, of which so much is filled.
    Open(&'a mut [u8], usize),
    /// Seal this.
    Seal(&'a [u8]),
    /// Say goodbye.
    End,
}

/// How far a step has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// Something was done, and more may be.
    On,
    /// Nothing more can be done before more has arrived.
    Blocked,
    /// The task is done.
    Done,
    /// The peer has said goodbye.
    Ended,
}

impl End {
    pub(super) fn state(&self) -> &CommonState {
        match self {
            End::Client(connection) => connection,
            End::Server(connection) => connection,
        }
    }

    /// Does the next thing that is to be done with what has arrived, or else the task. Gives how many
    /// bytes of what has arrived are used up, and how far it has come; content for which the task has
    /// no room is added to `opened`.
    pub(super) fn step(
        &mut self,
        arrived: &mut [u8],
        task: &mut Task<'_>,
        out: &mut Out<'_>,
        opened: &mut Vec<u8>,
    ) -> (usize, Result<Moved, Error>) {
        match self {
            End::Client(connection) => {
                act(connection.process_tls_records(arrived), task, out, opened)
            }
            End::Server(connection) => {
                act(connection.process_tls_records(arrived), task, out, opened)
            }
        }
    }
}

/// What waits to be sent, and where more of it goes.
pub(super) struct Out<'a> {
    pub(super) bytes: &'a mut Option<Pages>,
    pub(super) end: &'a mut usize,
}

impl Out<'_> {
    /// Makes room for so many bytes behind what waits.
    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let wanted = OUTGOING_BYTES.max(*self.end + bytes);
        let mut pages = Pages::new(wanted).map_err(|e| Error::General(e.to_string()))?;
        let waiting = &self.bytes.as_deref().unwrap_or_default()[..*self.end];
        pages[..waiting.len()].copy_from_slice(waiting);
        *self.bytes = Some(pages);
        Ok(())
    }

    /// Has something written behind what waits; it is asked again with more room if it says how much
    /// it needs.
    fn write(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, Short>,
    ) -> Result<(), Error> {
        loop {
            match write(&mut self.bytes.as_deref_mut().unwrap_or_default()[*self.end..]) {
                Ok(count) => {
                    *self.end += count;
                    return Ok(());
                }
                Err(Short::Of(bytes)) if *self.end + bytes <= OUTGOING_BYTES_MAX => {
                    self.grow(bytes)?;
                }
                Err(_) => return Err(Error::EncryptError),
            }
        }
    }
}

/// Why something was not written.
enum Short {
    /// So much room is needed.
    Of(usize),
    /// It cannot be written at all.
    Never,
}

impl From<EncodeError> for Short {
    fn from(error: EncodeError) -> Short {
        match error {
            EncodeError::InsufficientSize(size) => Short::Of(size.required_size),
            EncodeError::AlreadyEncoded => Short::Never,
        }
    }
}

impl From<EncryptError> for Short {
    fn from(error: EncryptError) -> Short {
        match error {
            EncryptError::InsufficientSize(size) => Short::Of(size.required_size),
            EncryptError::EncryptExhausted => Short::Never,
        }
    }
}

/// Does what the state of the connection asks for; gives how many bytes of what has arrived are used
/// up, and how far it has come.
fn act<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    task: &mut Task<'_>,
    out: &mut Out<'_>,
    opened: &mut Vec<u8>,
) -> (usize, Result<Moved, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let moved = state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(mut data) => {
            out.write(|room| data.encode(room).map_err(Short::from)).map(|()| Moved::On)
        }
        ConnectionState::TransmitTlsData(data) => {
            // It waits in `outgoing`, and leaves before anything is waited for.
            data.done();
            Ok(Moved::On)
        }
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                take(task, record.payload, opened);
            }
            Ok(Moved::On)
        }
        ConnectionState::WriteTraffic(mut traffic) => match task {
            Task::Open(..) => Ok(Moved::Blocked),
            Task::Seal(bytes) => out
                .write(|room| traffic.encrypt(bytes, room).map_err(Short::from))
                .map(|()| Moved::Done),
            Task::End => out
                .write(|room| traffic.queue_close_notify(room).map_err(Short::from))
                .map(|()| Moved::Done),
        },
        ConnectionState::BlockedHandshake => Ok(Moved::Blocked),
        ConnectionState::PeerClosed => Ok(Moved::Ended),
        ConnectionState::Closed => Ok(Moved::Blocked),
        _ => Err(Error::General("early data, which was not offered".into())),
    });
    (discard, moved)
}

/// Hands on what a record holds; what has no room in the buffer is kept.
fn take(task: &mut Task<'_>, content: &[u8], opened: &mut Vec<u8>) {
    let mut rest = content;
    if let Task::Open(buffer, filled) = task {
        let (now, later) = content.split_at(content.len().min(buffer.len() - *filled));
        buffer[*filled..*filled + now.len()].copy_from_slice(now);
        *filled += now.len();
        rest = later;
    }
    opened.extend_from_slice(rest);
}
