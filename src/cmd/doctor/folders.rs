//! The folders of nodes and of the server on this machine: can they have hard links, is there room and
//! are there inodes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::report::{Level, Report};
use crate::cmd::env::{Env, size};
use crate::cmd::failure::Stop;
use crate::cmd::status::grouped;
use crate::core::io::disk::{Disk, RealDisk};
use crate::core::io::reason;

/// With less room than this a folder can hardly be worked with.
const ROOM_BYTES_MIN: u64 = 64 << 20;

/// With fewer a disk runs out of files before it runs out of room.
const FILES_MIN: u64 = 10_000;

/// What was found beside the folder that is looked at.
pub(super) struct Folders {
    /// Those of nodes.
    nodes: Vec<PathBuf>,
    server: Option<PathBuf>,
    /// What else was named to be looked at.
    other: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Folders {
    /// Those in the folder, or the folder itself if it is one.
    pub(super) fn find(dir: Option<&Path>, env: &Env) -> Folders {
        let named = dir.map(Path::to_owned);
        let dir = dir.map_or_else(|| env.at(Path::new(".")), |dir| env.at(dir));
        // As short as they would be typed.
        let at = |name: String| match named {
            None => PathBuf::from(name),
            Some(_) => dir.join(name),
        };
        let is_node = |folder: &Path| env.at(folder).join(".palk").is_dir();
        let is_server = |folder: &Path| env.at(folder).join("palk.db").is_file();
        let nodes = (1..=4).map(|node| at(format!("files_{node}")));
        let mut folders = Folders {
            nodes: nodes.filter(|folder| is_node(folder)).collect(),
            server: Some(at("user_database".to_owned())).filter(|folder| is_server(folder)),
            other: None,
            key: Some(at("cluster.key".to_owned())).filter(|file| env.at(file).is_file()),
        };
        if named.is_some() {
            if is_node(&dir) {
                folders.nodes.push(dir.clone());
            } else if is_server(&dir) {
                folders.server = Some(dir.clone());
            } else if !folders.has_any() {
                folders.other = Some(dir);
            }
        }
        folders
    }

    pub(super) fn server(&self) -> Option<&Path> {
        self.server.as_deref()
    }

    pub(super) fn has_any(&self) -> bool {
        self.server.is_some() || !self.nodes.is_empty()
    }

    /// What nobody but its owner should be able to read.
    pub(super) fn secrets(&self) -> Vec<PathBuf> {
        let mut secrets: Vec<PathBuf> = self.nodes.clone();
        secrets.extend(self.key.clone());
        for folder in self.server.iter().flat_map(|server| [server.clone(), server.join("tls")]) {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            secrets.extend(entries.map(|entry| entry.path()).filter(|path| path.is_file()));
            secrets.push(folder);
        }
        secrets
    }

    pub(super) fn check(&self, report: &mut Report<'_>) -> Result<(), Stop> {
        let mut linked = Vec::new();
        for folder in self.nodes.iter().chain(&self.other) {
            let shown = folder.display();
            match try_link(&report.env().at(folder)) {
                Ok(()) => linked.push(shown.to_string()),
                Err(error) if is_without_links(&error) => {
                    let text = format!(
                        "the file system of {shown} has no hard links: files are stored, but their \
                         names are not shown there"
                    );
                    let fix = "Move it to a file system that has them (ext4, xfs, btrfs).";
                    report.found("hard-links", Level::Risk, text, fix)?;
                }
                Err(error) => {
                    let text = format!("cannot test hard links in {shown}: {}", reason(&error));
                    let fix = "Ask as the user that the node runs as, or look at the disk.";
                    report.found("hard-links", Level::Risk, text, fix)?;
                }
            }
        }
        if !linked.is_empty() {
            report.ok("hard-links", format!("hard links work in {}", linked.join(", ")))?;
        }
        for folder in self.nodes.iter().chain(&self.server).chain(&self.other) {
            check_space(folder, report)?;
        }
        Ok(())
    }
}

fn check_space(folder: &Path, report: &mut Report<'_>) -> Result<(), Stop> {
    let shown = folder.display();
    let space = match RealDisk.space(&report.env().at(folder)) {
        Ok(space) => space,
        Err(error) => {
            let text = format!("cannot tell the room in {shown}: {}", reason(&error));
            let fix = "Ask as the user that the node or server runs as, or name it with --dir.";
            return report.found("space", Level::Risk, text, fix);
        }
    };
    let room = format!("{} of {} are free", size(space.free_bytes), size(space.total_bytes));
    let files = match space.free_files {
        u64::MAX => "as many files as there is room for".to_owned(),
        files => format!("{} more files can be made", grouped(files)),
    };
    if space.free_files < FILES_MIN {
        let level = if space.free_files == 0 { Level::Fail } else { Level::Risk };
        let text = format!("the disk of {shown} runs out of inodes: {files}");
        let fix = "Delete files there, or use a file system with more inodes.";
        report.found("inodes", level, text, fix)?;
    }
    if space.free_bytes < ROOM_BYTES_MIN.min(space.total_bytes / 20) {
        let text = format!("the disk of {shown} is nearly full: {room}");
        let fix = "Delete files, or give it a larger disk.";
        return report.found("space", Level::Degraded, text, fix);
    }
    report.ok("space", format!("{shown}: {room}; {files}"))
}

/// Makes a file with two names, and takes both away again.
fn try_link(folder: &Path) -> io::Result<()> {
    let pid = std::process::id();
    // Below the folder that is Palk's own no name is a user's.
    let own = folder.join(".palk");
    let folder = if own.is_dir() { own } else { folder.to_owned() };
    let [first, second] = [1, 2].map(|number| folder.join(format!("doctor-{pid}-{number}")));
    let made = RealDisk.create(&first).and_then(|_| RealDisk.link(&first, &second));
    for path in [&first, &second] {
        // One that stays is empty, and the next check of the view tells of it.
        let _ = RealDisk.remove(path);
    }
    made
}

/// Is this what a file system without hard links answers? One that may not be written to fails before.
fn is_without_links(error: &io::Error) -> bool {
    const EPERM: i32 = 1;
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(EPERM)
}
