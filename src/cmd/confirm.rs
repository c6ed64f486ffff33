//! What cannot be taken back is asked about first, or wants an option where nobody can be asked.

use crate::cmd::env::{Asked, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;

/// The failure of a command that nobody can be asked about; `option` confirms it.
pub(crate) fn unconfirmed(what: &str, option: &str) -> Failure {
    let text = format!("cannot {what}: it has to be confirmed, and there is no terminal to ask at");
    Failure::new(Code::Usage, text).hint(format!("Nothing was changed. To confirm it:  {option}"))
}

/// Asks a question that wants a yes or a no.
///
/// # Errors
/// `unasked` if nobody can be asked, `refused` for anything but a yes.
pub(crate) fn confirm(
    env: &mut Env,
    question: &str,
    unasked: Failure,
    refused: Failure,
) -> Result<(), Stop> {
    if !env.can_ask() {
        return Err(unasked.into());
    }
    let answer = env.ask(question, Asked::Answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "yes" | "y" => Ok(()),
        _ => Err(refused.into()),
    }
}
