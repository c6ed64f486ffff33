//! A terminal that is read from: its settings, its size, what was typed ahead.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush,
    tcgetattr, tcgetwinsize, tcsetattr,
};

/// Forgets what was typed and has not been read yet. Of something else than a terminal nothing is
/// forgotten.
pub fn drop_typed_ahead(terminal: impl AsFd) {
    let _ = tcflush(terminal, QueueSelector::IFlush);
}

/// How a terminal was set before [`read_keys`].
#[derive(Debug)]
pub struct Settings(Termios);

impl Settings {
    /// Sets it so again. What was typed meanwhile and not read is forgotten.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn restore(&self, terminal: impl AsFd) -> io::Result<()> {
        Ok(tcsetattr(terminal, OptionalActions::Flush, &self.0)?)
    }
}

/// Has a terminal give each key at once and show none. A read that gets no key ends after a tenth of a
/// second with nothing. Ctrl-C, Ctrl-Z and Ctrl-S are keys like others: none of them ends, stops or holds
/// up the program before it has put the terminal in order.
///
/// # Errors
/// If it is no terminal.
pub fn read_keys(terminal: impl AsFd) -> io::Result<Settings> {
    let before = tcgetattr(&terminal)?;
    let mut settings = before.clone();
    settings.input_modes -= InputModes::IXON;
    settings.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
    settings.special_codes[SpecialCodeIndex::VMIN] = 0;
    settings.special_codes[SpecialCodeIndex::VTIME] = 1;
    tcsetattr(&terminal, OptionalActions::Flush, &settings)?;
    Ok(Settings(before))
}

/// How many columns and rows a terminal has; `None` if it does not say.
pub fn window(terminal: impl AsFd) -> Option<[usize; 2]> {
    let size = tcgetwinsize(terminal).ok()?;
    let [columns, rows] = [size.ws_col, size.ws_row].map(usize::from);
    (columns > 0 && rows > 0).then_some([columns, rows])
}
