//! The names of stored files and folders, for Tab: asked of the server while the line is typed, so
//! that they are always those of the folder that the session is in.

use std::cell::RefCell;
use std::rc::Rc;

use super::current::Current;
use crate::cmd::client::entries;
use crate::cmd::env::StoredNames;
use crate::core::remote::Remote;

/// What lies in a folder, as it is typed: seen from the folder that the session is in.
pub(super) fn stored_names(
    remote: &Rc<RefCell<Remote>>,
    current: &Rc<RefCell<Current>>,
) -> StoredNames {
    let (remote, current) = (remote.clone(), current.clone());
    StoredNames::new(move |typed| {
        let (Ok(mut remote), Ok(folder)) =
            (remote.try_borrow_mut(), current.borrow().folder(typed))
        else {
            return Vec::new();
        };
        // Where it fails nothing is offered; the next operation says why.
        if remote.is_usable() { entries::names(&mut remote, &folder) } else { Vec::new() }
    })
}
