//! The names of stored files and folders, for Tab: asked of the server while the line is typed, so
//! that they are always those of the folder that the session is in.

use std::cell::RefCell;
use std::rc::Rc;

use super::current::Current;
use crate::cmd::client::entries;
use crate::cmd::env::StoredNames;
use crate::core::path::printable;
use crate::core::remote::Remote;
use crate::core::wire::extended::Extent;

/// More names than this nobody reads.
const NAMES_MAX: usize = 1000;

/// What lies in a folder, as it is typed: seen from the folder that the session is in.
pub(super) fn stored_names(
    remote: &Rc<RefCell<Remote>>,
    current: &Rc<RefCell<Current>>,
) -> StoredNames {
    let (remote, current) = (remote.clone(), current.clone());
    StoredNames::new(move |typed| {
        let mut names = Vec::new();
        let (Ok(mut remote), Ok(folder)) =
            (remote.try_borrow_mut(), current.borrow().folder(typed))
        else {
            return names;
        };
        if remote.is_usable() {
            // Where it fails nothing is offered; the next operation says why.
            let _ = remote.list_below(&folder, Extent::Children, &mut |entry| {
                let name = entries::name(&entry);
                if names.len() < NAMES_MAX && printable(&name) == name {
                    names.push(name);
                }
                Ok(())
            });
        }
        names
    })
}
