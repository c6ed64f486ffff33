//! Limits of this machine.

use super::report::{Level, Report};
use crate::cmd::failure::Stop;
use crate::cmd::status::grouped;
use crate::core::io::listener::{files_max, raise_files_max};

/// A server with as many clients as it takes has about so many files and connections open.
const FILES_WANTED: usize = 4096;

pub(super) fn check(report: &mut Report<'_>) -> Result<(), Stop> {
    // As nodes and servers do when they start.
    raise_files_max();
    let Some(files) = files_max() else { return Ok(()) };
    let limit = format!("the limit of open files and connections is {}", grouped(files as u64));
    if files >= FILES_WANTED {
        return report.ok("descriptors", limit);
    }
    report.found(
        "descriptors",
        Level::Risk,
        format!("{limit}: a server takes {} clients at once then", files / 2),
        format!("ulimit -Hn {FILES_WANTED}   or, in a systemd unit:  LimitNOFILE={FILES_WANTED}"),
    )
}
