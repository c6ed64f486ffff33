//! `palk man DIR`: the manual pages of Palk and of every subcommand, as `--help` says it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man as Page;

use crate::cmd::client::local::replace_file;
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::io::reason;

/// Write a manual page for Palk and for every subcommand
#[derive(Args, Debug)]
pub struct Man {
    /// The folder to write them to; it is made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Man {
    /// Writes the pages.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if one cannot be written.
    pub fn run(self, command: Command, env: &mut Env) -> Result<(), Stop> {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let dir = env.at(&self.dir);
        let written = fs::create_dir_all(&dir).and_then(|()| write(&command, &dir));
        let count = written.map_err(|error| {
            let text = format!("cannot write to {}: {}", self.dir.display(), reason(&error));
            Failure::new(Code::LocalFile, text).hint("Check the folder, or name another one.")
        })?;
        env.note(&format!("Wrote {count} manual pages to {}", self.dir.display()));
        env.note(&format!("  Read one:  man {}", self.dir.join("palk.1").display()));
        Ok(())
    }
}

/// Writes the page of a command and those of its subcommands; says how many.
fn write(command: &Command, dir: &Path) -> io::Result<usize> {
    let mut count = 1;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        count += write(subcommand, dir)?;
    }
    let page = Page::new(command.clone())
        .source(format!("palk {}", env!("CARGO_PKG_VERSION")))
        .manual("Palk");
    let mut bytes = Vec::new();
    page.render(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    replace_file(&dir.join(page.get_filename()), &text, Some(Permissions::from_mode(0o644)))?;
    Ok(count)
}
