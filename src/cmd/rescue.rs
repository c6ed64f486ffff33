//! `palk rescue DIR DIR --out DIR`: plain files from the folders of any two nodes, without a server.
//!
//! The folders of the nodes are only read. Everything that could be refused is refused before the
//! first file is written, and every file that cannot be made again is named with the reason.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use crate::cmd::env::{Env, Manner, Temporary, plural, size};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::when;
use crate::core::error::{Code, Error};
use crate::core::io::disk::{Disk, FolderLock, RealDisk, create_folders};
use crate::core::io::reason;
use crate::core::node::rescue::{
    Folders, Outcome, Refusal, Rescuer, Selected, StoredFile, Survey, Unread, Written, part_path,
};
use crate::core::node::store::lock_path;
use crate::core::path::{PathError, UserName, printable};
use crate::core::wire::extended::When;

/// Turn the folders of two nodes back into plain files, without a server
#[derive(Args, Debug)]
pub struct Rescue {
    /// The folders of two nodes; of three or four, where two are damaged
    #[arg(required = true, num_args = 2..=4, value_name = "DIR")]
    folders: Vec<PathBuf>,

    /// Where the files go, as USER/PATH: a new or empty folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Only this user's files
    #[arg(long, value_name = "NAME", value_parser = parse_user)]
    user: Option<UserName>,

    /// The files as they were at this time: "2h ago", "yesterday 18:00", RFC 3339, or a snapshot's name
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    at: Option<When>,

    /// Beside each file also its former versions that are kept, and what was deleted, as NAME.kept-NUMBER
    #[arg(long, conflicts_with = "at")]
    kept: bool,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
}

fn parse_user(text: &str) -> Result<UserName, PathError> {
    UserName::parse(text)
}

impl Rescue {
    /// Rescues what can be.
    ///
    /// # Errors
    /// [`Code::Usage`] for folders that cannot be meant, [`Code::LocalFile`] if the files cannot be
    /// written, [`Code::SomeFailed`] or [`Code::Damaged`] if some or all could not be made again.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        let (quiet, json) = (self.quiet, self.json);
        env.set_manner(Manner { quiet, json, ..env.manner() });
        env.end_on_interrupt();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let paths: Vec<PathBuf> = self.folders.iter().map(|path| env.at(path)).collect();
        let folders = Folders::open(disk.clone(), &paths).map_err(|refusal| refused(&refusal))?;
        let out = env.at(&self.out);
        check_out(&out, &paths)?;
        // A new one goes again if nothing comes into it.
        let made = (!out.exists()).then(|| env.interrupts().temporary(out.clone()));
        create_folders(&*disk, &out).map_err(|e| cannot_write(&out, &reason(&e)))?;
        introduce(env, &folders);

        let wanted = Selected { user: self.user.clone(), at: self.at.clone(), former: self.kept };
        let survey = folders.survey(&wanted).map_err(|error| no_past(&error))?;
        check_user(self.user.as_ref(), &survey, &folders)?;
        if survey.journal.is_none() && !survey.files.is_empty() {
            env.note(
                "  no journal could be read: names are those in the nodes' folders, and files that \
                 were deleted last may be among them",
            );
        }
        for user in &survey.known_in_part {
            env.note(&format!(
                "  some of what {user} had at that time was no longer kept, and is missing here"
            ));
        }
        let _part = env.interrupts().temporary(part_path(&out));
        let rescuer = Rescuer::new(disk, &out, folders.nodes(), &survey);
        let tally = rescue(env, rescuer, &survey, &out)?;
        made.into_iter().for_each(Temporary::keep);
        tally.finish(env, &self.out, folders.list().len())
    }
}

/// What was cannot be told.
fn no_past(error: &Error) -> Failure {
    Failure::from(error).hint("Leave out --at and --kept.")
}

/// Makes all folders and files, and tells of each that failed.
fn rescue(env: &mut Env, mut rescuer: Rescuer, survey: &Survey, out: &Path) -> Result<Tally, Stop> {
    let known_in_part = survey.known_in_part.iter().map(ToString::to_string).collect();
    let mut tally = Tally { asked: survey.files.len(), known_in_part, ..Tally::default() };
    for unread in &survey.unread {
        tally.unread(env, unread)?;
    }
    for (user, folder) in &survey.folders {
        // If nothing can be written at all, the first file says so.
        if let Err(error) = rescuer.folder(user, folder) {
            let at = out.join(user.as_str()).join(folder.as_str());
            tally.place(env, &at, Failure::from(&error))?;
        }
    }
    let total = survey.files.iter().map(StoredFile::bytes).sum();
    let mut before = 0;
    let mut bar = env.bar("rescue", total);
    for file in &survey.files {
        let outcome = rescuer
            .file(file, &mut |bytes| bar.reach(before + bytes.min(file.bytes()), total))
            .map_err(|e| stopped(&e, &tally, out))?;
        before += file.bytes();
        tally.add(env, file, outcome)?;
    }
    drop(bar);
    Ok(tally)
}

/// What was done so far.
#[derive(Default)]
struct Tally {
    asked: usize,
    done: usize,
    /// Older versions of files whose newest is lost.
    older: usize,
    /// Folders or blocks that could not be read, folders that could not be made.
    places: usize,
    bytes: u64,
    /// Users of whom some of what was wanted was no longer kept.
    known_in_part: Vec<String>,
    /// Told at the end, below the progress.
    failures: Vec<Failure>,
}

impl Tally {
    fn unread(&mut self, env: &mut Env, unread: &Unread) -> Result<(), Stop> {
        let text = format!("cannot read {}: {}", unread.at.display(), unread.why);
        let failure = Failure::new(Code::LocalFile, text);
        self.place(env, &unread.at, failure.hint("Files may be missing because of it."))
    }

    fn place(&mut self, env: &mut Env, at: &Path, failure: Failure) -> Result<(), Stop> {
        self.places += 1;
        if env.manner().json {
            let (code, at) = (failure.code.exit_status(), at.display().to_string());
            env.json("item", json!({"code": code, "file": at, "message": failure.text}))?;
        }
        self.failures.push(failure);
        Ok(())
    }

    fn add(&mut self, env: &mut Env, file: &StoredFile, outcome: Outcome) -> Result<(), Stop> {
        let mut object =
            json!({"user": file.place.user.as_str(), "path": file.place.path.as_str()});
        match outcome {
            Outcome::Rescued(written) => {
                self.done += 1;
                self.bytes += written.bytes;
                object["code"] = json!(0);
                describe(&mut object, &written);
            }
            Outcome::Lost { why, older } => {
                let text = format!("cannot rescue {}: {why}", file.place);
                let mut failure = Failure::new(Code::Damaged, text);
                object["code"] = json!(failure.code.exit_status());
                object["message"] = json!(failure.text);
                if let Some(written) = older {
                    self.older += 1;
                    let at = printable(&written.at.display().to_string());
                    failure = failure.hint(format!("An older version of it is {at}"));
                    let mut older = json!({});
                    describe(&mut older, &written);
                    object["older"] = older;
                }
                self.failures.push(failure);
            }
        }
        if env.manner().json { env.json("item", object) } else { Ok(()) }
    }

    /// Tells how it went, failures last.
    fn finish(self, env: &mut Env, out: &Path, folders: usize) -> Result<(), Stop> {
        let out = printable(&out.display().to_string());
        let of = if self.done == self.asked { String::new() } else { format!("{} of ", self.done) };
        let summary =
            format!("Rescued {of}{}, {}  to {out}", plural(self.asked, "file"), size(self.bytes));
        let failed = self.asked - self.done;
        let mut object =
            json!({"done": self.done, "failed": failed, "bytes": self.bytes, "out": out});
        if !self.known_in_part.is_empty() {
            object["known_in_part"] = json!(self.known_in_part);
        }
        if self.failures.is_empty() {
            env.note(&summary);
            object["code"] = json!(0);
            return if env.manner().json { env.json("result", object) } else { Ok(()) };
        }
        let code = match (self.done + self.older, failed) {
            (0, 0) => Code::LocalFile,
            (0, _) => Code::Damaged,
            _ => Code::SomeFailed,
        };
        if env.manner().json {
            object["code"] = json!(code.exit_status());
            object["message"] = json!(self.what_failed());
            env.json("error", object)?;
            return Err(Stop::Told(code));
        }
        self.failures.iter().for_each(|failure| env.tell(failure));
        env.note(&summary);
        let hint = match folders {
            4 => "The lines above say why.",
            _ => {
                "The lines above say why. Another node's folder would help: name it as well, and a new --out."
            }
        };
        Err(Failure::new(code, self.what_failed()).hint(hint).into())
    }

    fn what_failed(&self) -> String {
        let failed = self.asked - self.done;
        let files = || format!("{failed} of {} could not be rebuilt", plural(self.asked, "file"));
        let places = || format!("{} could not be read or made", plural(self.places, "folder"));
        match (failed, self.places) {
            (_, 0) => files(),
            (0, _) => places(),
            _ => format!("{}, {}", files(), places()),
        }
    }
}

fn describe(object: &mut Value, written: &Written) {
    object["file"] = json!(written.at.display().to_string());
    object["bytes"] = json!(written.bytes);
    object["blake3"] = json!(written.blake3.to_string());
    object["version"] = json!(written.version.to_string());
    object["seq"] = json!(written.seq.0);
}

/// Says what is read, and what is odd about it.
fn introduce(env: &mut Env, folders: &Folders) {
    env.note(&format!("Looking for files in the folders of {}", folders.nodes()));
    for folder in folders.list() {
        let (node, at) = (folder.node, printable(&folder.at.display().to_string()));
        if folder.is_by_blocks {
            env.note(&format!(
                "  {at}/.palk/node.toml is missing or damaged; by its blocks this is node {node}"
            ));
        }
        // Where that cannot be told, the folder is read all the same.
        if FolderLock::is_held(&lock_path(&folder.at)).unwrap_or(false) {
            env.note(&format!("  node {node} is running: what changes meanwhile may be missed"));
        }
    }
}

fn refused(refusal: &Refusal) -> Failure {
    let (code, hint) = match refusal {
        Refusal::Unreadable { .. } => (Code::LocalFile, NAME_NODES),
        Refusal::NoNodeFolder { .. } => (Code::Usage, NAME_NODES),
        Refusal::SeveralNodes { .. } => {
            (Code::Usage, "Give the blocks of each node a folder of their own, or leave it out.")
        }
        Refusal::OtherFormat { .. } => (Code::Version, "Use the version of Palk that wrote it."),
        Refusal::SameNode { .. } => (Code::Usage, "Name the folders of two different nodes."),
        Refusal::OtherCluster { .. } => (Code::Usage, "Name the folders of one cluster."),
    };
    Failure::new(code, refusal.to_string()).hint(hint)
}

const NAME_NODES: &str = "Name the folders of two nodes:  palk rescue files_1 files_3 --out DIR";

/// Is there nothing that the files could meet, and nothing of a node that they could disturb?
fn check_out(out: &Path, nodes: &[PathBuf]) -> Result<(), Failure> {
    let real = real_path(out)?;
    for node in nodes {
        let node_real = fs::canonicalize(node).map_err(|e| cannot_write(node, &reason(&e)))?;
        if real.starts_with(&node_real) {
            let text = format!(
                "cannot write to {}: it is in the folder of a node, {}",
                out.display(),
                node.display()
            );
            return Err(Failure::new(Code::Usage, text).hint(NEW_OUT));
        }
    }
    match fs::read_dir(out).map(|mut entries| entries.next()) {
        Ok(None) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Ok(Some(_)) => Err(cannot_write(out, "it is not empty")),
        Err(e) if e.kind() == ErrorKind::NotADirectory => Err(cannot_write(out, "it is a file")),
        Err(e) => Err(cannot_write(out, &reason(&e))),
    }
}

const NEW_OUT: &str = "Name a new or empty folder elsewhere with --out.";

/// Where a path leads, though its last parts may not be there yet.
fn real_path(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path).map_err(|e| cannot_write(path, &reason(&e)))?;
    let mut there = absolute.as_path();
    let real = loop {
        match fs::canonicalize(there) {
            Ok(real) => break real,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(cannot_write(path, &reason(&e))),
        }
        there = match there.parent() {
            Some(above) => above,
            None => return Err(cannot_write(path, "no such file or folder")),
        };
    };
    let rest = absolute.strip_prefix(there).unwrap_or(Path::new(""));
    if rest.components().any(|part| part == Component::ParentDir) {
        return Err(cannot_write(path, "it has \"..\" behind a folder that is not there"));
    }
    Ok(real.join(rest))
}

fn cannot_write(at: &Path, why: &str) -> Failure {
    Failure::new(Code::LocalFile, format!("cannot write to {}: {why}", at.display())).hint(NEW_OUT)
}

/// Nothing can be written any more.
fn stopped(error: &Error, tally: &Tally, out: &Path) -> Failure {
    let hint = format!(
        "{} of {} are in {}. Make room, or name another folder with --out.",
        tally.done,
        plural(tally.asked, "file"),
        out.display()
    );
    Failure::from(error).hint(printable(&hint))
}

/// Is there anything of this user?
fn check_user(user: Option<&UserName>, survey: &Survey, folders: &Folders) -> Result<(), Failure> {
    let Some(user) = user else { return Ok(()) };
    if !survey.users().is_empty() || !survey.unread.is_empty() {
        return Ok(());
    }
    let all = folders.survey(&Selected::default()).map_err(|error| no_past(&error))?;
    let users: Vec<String> = all.users().into_iter().map(ToString::to_string).collect();
    let hint = match users.as_slice() {
        [] => "There is no user's folder at all.".to_owned(),
        users => format!("There are files of: {}", users.join(", ")),
    };
    Err(Failure::new(Code::NoSuchFile, format!("there is nothing of a user {user}")).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> (u8, String) {
        let (mut env, screen) = Env::fake(&[&["rescue"], args].concat(), "");
        let status = crate::cmd::run(&mut env);
        (status, screen.err())
    }

    fn node(folder: &Path, name: &str, toml: &str) -> String {
        let at = folder.join(name);
        fs::create_dir_all(at.join(".palk/pieces")).unwrap();
        fs::write(at.join(".palk/node.toml"), toml).unwrap();
        at.to_str().unwrap().to_owned()
    }

    #[test]
    fn folders_that_cannot_be_meant_are_refused_with_what_to_do() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name).to_str().unwrap().to_owned();
        let one = node(temporary.path(), "one", "format = 5\nnode = 1\n");
        let also_one = node(temporary.path(), "also", "format = 5\nnode = 1\n");
        let cluster = |n: u8| {
            format!("format = 5\nnode = {n}\ncluster = \"{}\"\n", format!("{n:02x}").repeat(16))
        };
        let two = node(temporary.path(), "two", &cluster(2));
        let three = node(temporary.path(), "three", &cluster(3));
        let newer = node(temporary.path(), "newer", "format = 9\nnode = 4\n");
        let empty = at("empty");
        fs::create_dir(&empty).unwrap();
        let missing = at("missing");
        let cases = [
            ([&one, &also_one], 2, "both of node 1"),
            ([&one, &one], 2, "both of node 1"),
            ([&two, &three], 2, "different clusters"),
            ([&one, &newer], 11, "format 9"),
            ([&one, &empty], 2, "not the folder of a storage node"),
            ([&one, &missing], 13, "no such file or folder"),
        ];
        for (folders, expected, text) in cases {
            let out = at("out");
            let (status, said) = run(&[folders[0], folders[1], "--out", &out]);
            assert_eq!(status, expected, "{said}");
            assert!(said.contains(text) && said.lines().count() == 2, "{said}");
            assert!(!Path::new(&out).exists());
        }
        assert_eq!(run(&[&one, "--out", "x"]).0, 2, "one folder is not enough");
    }

    #[test]
    fn files_never_go_where_something_is() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name).to_str().unwrap().to_owned();
        let one = node(temporary.path(), "one", "format = 5\nnode = 1\n");
        let two = node(temporary.path(), "two", "format = 5\nnode = 2\n");
        std::os::unix::fs::symlink(&one, at("link")).unwrap();
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("full")).unwrap();
        fs::write(at("full/x"), "").unwrap();
        let cases = [
            (at("one"), 2, "in the folder of a node"),
            (at("two/new/out"), 2, "in the folder of a node"),
            (at("one/../two/new"), 2, "in the folder of a node"),
            (at("link/new"), 2, "in the folder of a node"),
            (at("new/../one/out"), 13, "\"..\""),
            (at("file"), 13, "a file"),
            (at("file/new"), 13, "not a folder"),
            (at("full"), 13, "not empty"),
        ];
        for (out, expected, text) in cases {
            let (status, said) = run(&[&one, &two, "--out", &out]);
            assert_eq!(status, expected, "{out}: {said}");
            assert!(said.contains(text) && said.contains("--out"), "{out}: {said}");
        }
        assert_eq!(fs::read_dir(&one).unwrap().count(), 1, "nothing was written there");
    }

    #[test]
    fn empty_folders_give_an_empty_folder() {
        let temporary = tempfile::tempdir().unwrap();
        let out = temporary.path().join("deep/out");
        let one = node(temporary.path(), "one", "format = 5\nnode = 1\n");
        let two = node(temporary.path(), "two", "format = 5\nnode = 2\n");
        let (status, said) = run(&[&one, &two, "--out", out.to_str().unwrap(), "--user", "demo"]);
        assert_eq!(status, 4, "{said}");
        assert!(said.contains("nothing of a user demo") && !out.exists(), "{said}");
        fs::create_dir(&out).unwrap();
        assert_eq!(run(&[&one, &two, "--out", out.to_str().unwrap(), "--user", "demo"]).0, 4);
        assert!(out.exists(), "it was there before");
        let (status, said) = run(&[&one, &two, "--out", out.to_str().unwrap()]);
        assert_eq!(status, 0, "{said}");
        assert!(said.contains("Rescued 0 files, 0 B  to "), "{said}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    }
}
