//! A verb that takes long: asked, followed while it goes on, and told at its end.

use serde::de::DeserializeOwned;

use super::{Common, ask_folder};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Error, Result as CoreResult};
use crate::core::path::printable;
use crate::core::wire::admin::{Fields, Line, Verb, parse};
use crate::core::wire::reports::Found;

/// What is told of a verb, apart from its end.
pub(super) struct Following<'a> {
    /// What stands before the progress.
    pub(super) label: &'a str,
    /// What Ctrl-C leaves behind, in a line.
    pub(super) when_left: &'a str,
    /// What is said first, by the first line of progress.
    pub(super) begins: &'a dyn Fn(Fields) -> CoreResult<String>,
    /// How far it is: percent, and words.
    pub(super) far: &'a dyn Fn(Fields) -> CoreResult<(u64, String)>,
}

/// How a verb ended that was carried out.
pub(super) struct Ended<T> {
    /// The exit status.
    pub(super) code: u8,
    /// What it came to.
    pub(super) report: T,
}

/// Asks the server and waits. Progress is shown, and items are printed, one a line; with `--json` all
/// lines are passed on as they are, the last one included.
///
/// # Errors
/// The items that came before the error, and the error.
pub(super) fn follow<T: DeserializeOwned>(
    common: &Common,
    env: &mut Env,
    verb: &Verb,
    following: &Following<'_>,
) -> Result<Ended<T>, (Vec<Found>, Stop)> {
    let mut items = Vec::new();
    let asked = ask(common, env, verb, following, &mut items);
    let (code, fields) = match asked {
        Ok(answer) => answer,
        Err(stop) => return Err((items, stop)),
    };
    let told = tell(env, code, &fields, &items).and_then(|()| Ok(parse(fields)?));
    told.map(|report| Ended { code, report }).map_err(|stop| (items, stop))
}

fn ask(
    common: &Common,
    env: &mut Env,
    verb: &Verb,
    following: &Following<'_>,
    items: &mut Vec<Found>,
) -> Result<(u8, Fields), Stop> {
    let folder = env.at(&common.dir);
    let is_json = env.manner().json;
    let left = following.when_left.to_owned();
    env.interrupts().at_end(move || left);
    let mut bar = None;
    let mut stopped = None;
    let mut each = |line: Line| -> CoreResult<()> {
        match line {
            Line::Progress(fields) if is_json => {
                stopped = env.json("progress", fields.into()).err();
            }
            Line::Item(fields) if is_json => stopped = env.json("item", fields.into()).err(),
            Line::Progress(fields) => {
                if bar.is_none() {
                    env.note(&(following.begins)(fields.clone())?);
                }
                let (percent, text) = (following.far)(fields)?;
                bar.get_or_insert_with(|| env.work_bar(following.label)).say(percent, &text);
            }
            Line::Item(fields) => items.push(parse(fields)?),
            Line::Result(_) | Line::Error { .. } => {}
        }
        match stopped {
            Some(_) => Err(Error::Closed("by whoever reads this".into())),
            None => Ok(()),
        }
    };
    let answer = ask_folder(&folder, verb, &mut each);
    drop(bar);
    match (answer, stopped) {
        (_, Some(stop)) => Err(stop),
        (Ok(answer), None) => Ok((answer.code, answer.fields)),
        (Err(error), None) => Err(super::failure(&common.dir, &error).into()),
    }
}

fn tell(env: &mut Env, code: u8, fields: &Fields, items: &[Found]) -> Result<(), Stop> {
    if env.manner().json {
        let mut object = serde_json::Value::Object(fields.clone());
        object["code"] = code.into();
        return env.json("result", object);
    }
    list(env, items)
}

/// Prints items, one a line.
pub(super) fn list(env: &mut Env, items: &[Found]) -> Result<(), Stop> {
    for item in items {
        env.data(&item_line(item))?;
    }
    env.flush()
}

/// An item without what it could do to a terminal: `wrong  node 2  /demo/photo.jpg`.
pub(crate) fn item_line(Found { what, node, path }: &Found) -> String {
    let node = node.map_or(String::new(), |node| format!("  node {node}"));
    format!("{}{node}  {}", printable(what), printable(path))
}

/// An exit status as the end of a command.
pub(super) fn end(code: u8) -> Result<(), Stop> {
    if code == 0 { Ok(()) } else { Err(Stop::Ended(code)) }
}

/// A failure that says what to do, in the place of the general hint.
pub(super) fn with_hint(stop: Stop, hint: &str) -> Stop {
    match stop {
        Stop::Failed(failure) => Stop::Failed(Failure { hint: Some(hint.to_owned()), ..failure }),
        other => other,
    }
}
