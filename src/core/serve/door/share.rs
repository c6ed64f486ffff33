//! The share door: `list`, `put`, `get`, `bye`. What they look like, and what a file's end is, is in
//! [`wire::share`](crate::core::wire::share).
//!
//! No command is answered but `list` and `get`, so what went wrong is in the log only. What a file's
//! end was known by is there as well: of one that ended by silence nobody can tell whether it was cut.

use std::time::{Duration, Instant};

use super::client::DoorClient;
use crate::core::error::{Error, Result};
use crate::core::io::net::Deadline;
use crate::core::io::spool::Spool;
use crate::core::path::printable;
use crate::core::serve::limits::{MESSAGE, Pace, REQUEST, TAKE};
use crate::core::serve::meter::Verb;
use crate::core::types::Precondition;
use crate::core::wire::extended::Entry;
use crate::core::wire::share::{
    self, Command, Ending, Heard, LIST_BYTES_MAX, Put, ends_by_closing, next_piece,
};

/// The most bytes taken in one read: more than wait in a connection, so that no piece is cut by this
/// side. The pages of the buffer that are not used take no memory.
const READ_BYTES: usize = 256 * 1024;

/// Whether anything follows a piece that is short enough to be the last one.
const SHORT: Deadline = Deadline::new(Duration::from_millis(200), "send more of its file");

/// The end of a file that has no short piece.
const SILENCE: Deadline = Deadline::new(Duration::from_secs(2), "send more of its file");

/// What looks like a command after this time is one and no part of a file.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves a client to its end.
///
/// # Errors
/// That of the connection, or that what it says is no command.
pub(super) fn serve(client: &mut DoorClient<'_>) -> Result<()> {
    let mut heard = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match share::decode(&heard) {
            Heard::NotYet => {
                let deadline = if heard.is_empty() { &REQUEST } else { &MESSAGE };
                match client.stream.read_some(&mut buffer, deadline)? {
                    0 => return Ok(()),
                    count => heard.extend_from_slice(&buffer[..count]),
                }
            }
            Heard::Unknown => {
                // Maybe the rest of a file that was cut by silence: more of it could say anything.
                let shown = String::from_utf8_lossy(&heard[..heard.len().min(40)]).into_owned();
                return Err(Error::Protocol(format!("{shown:?} is no command")));
            }
            Heard::Whole(command, used) => {
                heard.drain(..used);
                match command {
                    Command::List => list(client)?,
                    Command::Put => put(client, &mut heard, &mut buffer)?,
                    Command::Get(name) if !get(client, &name)? => return Ok(()),
                    Command::Get(_) => {}
                    Command::Bye => return Ok(()),
                }
            }
        }
    }
}

fn list(client: &mut DoorClient<'_>) -> Result<()> {
    let begun = Instant::now();
    let (mut names, mut bytes) = (Vec::new(), 0);
    let listed = client.begin().and_then(|_busy| {
        client.each_entry(client.top(), |entry, name| {
            if let Entry::File(_) = entry {
                bytes += name.len() + 1;
                names.push(name.to_owned());
            }
            bytes <= LIST_BYTES_MAX
        })
    });
    client.event(Verb::List, "listed", begun).end(&listed);
    // There is no answer that says why; the client waits for one.
    client.stream.write_segment(&share::list(names.iter().map(String::as_str)), &TAKE)
}

/// False if only the end of the connection can tell the client that this is all.
fn get(client: &mut DoorClient<'_>, name: &str) -> Result<bool> {
    let begun = Instant::now();
    let path = match client.file(name) {
        Ok(path) => path,
        Err(error) => {
            client.event(Verb::Retrieve, "retrieved", begun).failed(&error);
            return Ok(false);
        }
    };
    // Any answer would be written into the client's file.
    let Ok(mut retrieve) = client.retrieve(&path, begun) else { return Ok(false) };
    let sent = client.send_pieces(&mut retrieve, |left, before| {
        next_piece(left, before).map(|piece| (piece.length, piece.is_apart))
    });
    client.retrieved(&path, &retrieve, begun, &sent);
    sent?;
    Ok(!ends_by_closing(retrieve.bytes))
}

/// Takes a file. What comes behind it, the next command, is left in `heard`.
fn put(client: &mut DoorClient<'_>, heard: &mut Vec<u8>, buffer: &mut [u8]) -> Result<()> {
    let begun = Instant::now();
    if heard.is_empty() {
        match client.stream.read_some(buffer, &MESSAGE)? {
            0 => return Ok(()),
            count => heard.extend_from_slice(&buffer[..count]),
        }
    }
    let mut put = Put::new(heard);
    let mut spool = client.spool();
    let bytes_max = client.files().file_bytes_max();
    let mut kept = put_aside(&mut spool, heard);
    heard.clear();
    let mut pace = Pace::begin();
    let ending = loop {
        let waited = Instant::now();
        let patience = if put.is_short() { &SHORT } else { &SILENCE };
        let bytes = match client.stream.read_some(buffer, patience) {
            Ok(0) => break Ending::Close,
            Ok(count) => &buffer[..count],
            Err(Error::Deadline(_)) if put.is_short() => break Ending::ShortPiece,
            Err(Error::Deadline(_)) => break Ending::Silence,
            // A client that vanished has stored nothing.
            Err(error) => {
                client.event(Verb::Store, "stored", begun).failed(&error);
                return Err(error);
            }
        };
        if put.is_over_with(bytes, waited.elapsed() >= PAUSE) {
            heard.extend_from_slice(bytes);
            break if put.is_short() { Ending::ShortPiece } else { Ending::NextCommand };
        }
        put.came(bytes.len());
        pace.moved(bytes.len(), client.stream.name())?;
        // Whatever is not kept is taken all the same, up to the end of the file.
        if kept.is_ok() && put.bytes() > bytes_max.saturating_add(share::glued::LOOK_BYTES as u64) {
            kept = Err(Error::TooBig { bytes: put.bytes(), limit: bytes_max });
            spool = client.spool();
        }
        if kept.is_ok() {
            kept = put_aside(&mut spool, bytes);
        }
    };
    if let Err(error) = kept {
        client.event(Verb::Store, "stored", begun).failed(&error);
        return Ok(());
    }
    let Some(name) = put.name() else {
        let what = "where the name of a file ends cannot be told";
        client.event(Verb::Store, "stored", begun).failed(&Error::Protocol(what.into()));
        return Ok(());
    };
    let path = match client.file(name.text) {
        Ok(path) => path,
        Err(error) => {
            client.event(Verb::Store, "stored", begun).failed(&error);
            return Ok(());
        }
    };
    let offset = name.text.len() as u64;
    let bytes = spool.bytes() - offset;
    let (peer, shown, how) = (client.peer, printable(name.text), ending.as_str());
    if bytes == 0 && ending == Ending::Close {
        tracing::warn!("client {peer}: nothing of {shown} came before the end of the connection");
        return Ok(());
    }
    if ending.is_sure() {
        tracing::info!("client {peer}: {shown} ended {how}, {bytes} bytes");
    } else {
        tracing::warn!(
            "client {peer}: {shown} ended {how}, {bytes} bytes; whether it is whole cannot be told"
        );
    }
    if !name.is_sure {
        tracing::warn!("client {peer}: the name {shown} was told from what came with it");
    }
    // An empty file may be one that could not be read over there: it replaces nothing.
    let precondition = if bytes == 0 { Precondition::Absent } else { Precondition::Any };
    // The client waits for no answer, and the log has it.
    let _ = client.store(&path, &spool, offset, precondition, begun);
    Ok(())
}

fn put_aside(spool: &mut Spool, bytes: &[u8]) -> Result<()> {
    spool.append(bytes).map_err(Error::io("cannot put the file aside"))
}
