//! A symbolic link that comes back: where it leads, and whether it may.
//!
//! Invariant: a link that is confined to a folder leads to something in it, whatever other confined links are
//! on the way there.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use crate::core::path::printable;
use crate::core::types::LINK_BYTES_MAX;

/// Where a link may lead.
#[derive(Clone, Copy, Debug)]
pub(super) enum Confines {
    /// To what lies in the folder that is so many folders above the one that it is in itself.
    Above(usize),
    Nowhere,
}

impl Confines {
    /// To what lies in a folder that the link lies in, at whatever depth.
    pub(super) fn within(folder: &Path, link: &Path) -> Confines {
        let below = link.strip_prefix(folder).unwrap_or(Path::new(""));
        Confines::Above(below.components().count().saturating_sub(1))
    }
}

/// Reads the path that a link is to lead to.
///
/// # Errors
/// If it is none, or leads to where it may not; as the operating system says.
pub(super) fn read_target(content: &mut impl Read, confines: Confines) -> io::Result<PathBuf> {
    let mut leads_to = Vec::new();
    content.take(LINK_BYTES_MAX + 1).read_to_end(&mut leads_to)?;
    let is_path = !leads_to.is_empty() && !leads_to.contains(&0);
    if !is_path || leads_to.len() as u64 > LINK_BYTES_MAX {
        return Err(io::Error::other("it is a link that leads to no path"));
    }
    let leads_to = PathBuf::from(OsString::from_vec(leads_to));
    match confines {
        Confines::Above(depth) if leads_outside(&leads_to, depth) => {
            let shown = printable(&leads_to.to_string_lossy());
            let text = format!("it is a link that leads outside, to {shown} (see --unsafe-links)");
            Err(io::Error::other(text))
        }
        _ => Ok(leads_to),
    }
}

/// May a link in a folder that is no link lead out of the one that is so many folders above that? It goes up
/// first, if at all, and never behind a name: that may be another link, which goes up from elsewhere.
fn leads_outside(leads_to: &Path, mut depth: usize) -> bool {
    let mut has_name = false;
    leads_to.components().any(|part| match part {
        Component::CurDir => false,
        Component::Normal(_) => {
            has_name = true;
            false
        }
        Component::ParentDir => match depth.checked_sub(1) {
            Some(above) if !has_name => {
                depth = above;
                false
            }
            _ => true,
        },
        Component::RootDir | Component::Prefix(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_leads_outside_unless_it_may() {
        let outside = |link: &str, leads_to: &str| {
            let root = Path::new("/top");
            let Confines::Above(depth) = Confines::within(root, &root.join(link)) else { panic!() };
            leads_outside(Path::new(leads_to), depth)
        };
        for (link, leads_to, expected) in [
            ("a", "b", false),
            ("a", "./b/c", false),
            ("a", "..", true),
            ("d/a", "..", false),
            ("d/a", "../b", false),
            ("d/a", "../../b", true),
            ("d/e/a", "../../b/c", false),
            ("a", "/etc", true),
            ("a", "/top/b", true),
            // "d" may be a link to a folder that lies higher than it does itself.
            ("a", "d/..", true),
            ("x/a", "../d/../b", true),
        ] {
            assert_eq!(outside(link, leads_to), expected, "{link} -> {leads_to}");
        }
    }
}
