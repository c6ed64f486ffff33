//! A screen of its own on the terminal, drawn anew in place until a key leaves it.
//!
//! Invariant: whatever ends it (a key, an error, a panic), the terminal is as it was before, and what is
//! said afterwards is said there. A panic is told by a hook before anything is dropped, so the hook puts
//! the terminal in order first.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::panic;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;

use super::{Env, Stop};
use crate::core::io::terminal::{Settings, read_keys, window};

/// Takes the second screen that terminals have, and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Shows the cursor and gives the screen back.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The size where a terminal does not say it.
const USUAL_SIZE: [usize; 2] = [80, 24];

const ESCAPE: u8 = 0x1b;
const CTRL_C: u8 = 3;

/// The screen, until it is dropped.
pub struct Display {
    before: Before,
    left: Receiver<()>,
}

/// How the terminal was before; `None` once it is so again.
#[derive(Clone)]
struct Before(Arc<Mutex<Option<Settings>>>);

impl Before {
    fn restore(&self) {
        if let Some(settings) = self.0.lock().take() {
            // A terminal that is gone needs nothing more.
            let mut out = io::stdout();
            let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
            let _ = settings.restore(io::stdin());
        }
    }
}

impl Display {
    fn open() -> io::Result<Display> {
        // Standard input itself is locked by the main thread.
        let keyboard = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let before = Before(Arc::new(Mutex::new(Some(read_keys(&keyboard)?))));
        let (hook, for_hook) = (panic::take_hook(), before.clone());
        panic::set_hook(Box::new(move |info| {
            for_hook.restore();
            hook(info);
        }));
        let (sender, left) = bounded(1);
        thread::spawn(move || {
            await_leaving(keyboard);
            // Nobody listens any more: it has been left already.
            let _ = sender.send(());
        });
        Ok(Display { before, left })
    }

    /// Becomes ready when a key leaves it.
    pub fn left(&self) -> Receiver<()> {
        self.left.clone()
    }

    /// How many columns and rows it has now.
    pub fn size(&self) -> [usize; 2] {
        window(io::stdout()).unwrap_or(USUAL_SIZE)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.before.restore();
    }
}

impl Env {
    /// Takes the whole terminal, if input and output are one that can be drawn on and nothing else is
    /// wanted on it.
    pub fn display(&mut self) -> Option<Display> {
        let can_draw = self.variable("TERM").is_some_and(|term| term != "dumb");
        if !self.terminals.input || !self.terminals.out || !can_draw || self.manner.json {
            return None;
        }
        let display = Display::open().ok()?;
        self.prompt(ENTER).is_ok().then_some(display)
    }

    /// Draws lines, which are not wider than a screen of this size, in the place of what is there.
    ///
    /// # Errors
    /// As [`Env::data`].
    pub fn draw(&mut self, lines: &[String], [_, rows]: [usize; 2]) -> Result<(), Stop> {
        let mut text = String::new();
        for (row, line) in (1..=rows).zip(lines) {
            // Cleared before it is written: behind a line that fills the row, the end of it would go.
            text += &format!("\x1b[{row};1H\x1b[K{line}");
        }
        if lines.len() < rows {
            text += &format!("\x1b[{};1H\x1b[J", lines.len() + 1);
        }
        self.prompt(&text)
    }
}

/// Reads until a key is pressed that leaves, or the terminal is gone.
fn await_leaving(mut keyboard: File) {
    let mut keys = Keys::default();
    let mut bytes = [0; 64];
    loop {
        match keyboard.read(&mut bytes) {
            Ok(count) if !keys.leave(&bytes[..count]) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Tells keys that leave from others. Escape is one, and also the first byte of what many others send.
#[derive(Default)]
struct Keys {
    after_escape: bool,
}

impl Keys {
    /// Takes what a read has given, which is nothing if no key was pressed for a while.
    fn leave(&mut self, bytes: &[u8]) -> bool {
        if std::mem::take(&mut self.after_escape) {
            return bytes.is_empty();
        }
        self.after_escape = bytes == [ESCAPE];
        !bytes.contains(&ESCAPE) && bytes.iter().any(|byte| matches!(*byte, b'q' | b'Q' | CTRL_C))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_ctrl_c_leave_and_what_other_keys_send_does_not() {
        let leave = |reads: &[&[u8]]| {
            let mut keys = Keys::default();
            reads.iter().any(|bytes| keys.leave(bytes))
        };
        assert!(leave(&[b"q"]) && leave(&[b"Q"]) && leave(&[b"ab\x03"]));
        assert!(leave(&[b"\x1b", b""]));
        // An arrow in one piece and in two, a key with Alt, other keys, none.
        assert!(!leave(&[b"\x1b[A", b""]) && !leave(&[b"\x1b", b"[A", b""]));
        assert!(!leave(&[b"\x1bq"]) && !leave(&[b"x"]) && !leave(&[b"", b""]));
    }
}
