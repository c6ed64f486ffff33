//! Where a retrieved file goes. It appears there whole or not at all: the bytes are written to a
//! temporary file beside it, which gets the name once their digest has been found right and they are
//! on the disk, and is removed however else it ends. Folders that were made for it go again as well.
//!
//! What is replaced hands on its owner and its mode. Where that cannot be, since only the superuser
//! gives files away or something is mounted on it, the whole new content is written over the old one.
//! A file that may not be written is not replaced either.
//!
//! What is no regular file (a device, a pipe) is written to directly: a rename would replace it.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use super::link::{self, Confines};
use super::local::{is_mount_point, unused_name, write_in_place};
use super::partial::{self, Partial};
use crate::cmd::env::{Interrupts, Patient, Temporary};
use crate::core::error::{Code, Error, Result};
use crate::core::io::attributes::give;
use crate::core::io::reason;
use crate::core::remote::Digester;
use crate::core::types::{FileAttributes, VersionId};

/// What becomes of a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Existing {
    /// It is replaced; a link is followed to the file that it stands for.
    Replaced,
    /// It is replaced, also a link itself.
    ReplacedItself,
    /// It stays, and writing fails with [`Code::Exists`].
    Kept,
}

/// A local file that is being written.
#[derive(Debug)]
pub(crate) struct Place {
    // Dropped in this order: the file first, so that its folders are empty.
    way: Way,
    /// Made for this file.
    folders: Folders,
    /// Where a link may lead that is to be one here; `None`: it becomes a file with its target in it.
    links: Option<Confines>,
}

/// How the bytes get there.
#[derive(Debug)]
enum Way {
    /// By a file beside it.
    Beside(File, Pending),
    /// Directly into what is there, at its reader's pace.
    Into(Patient),
}

/// A temporary file, and what it is to be.
#[derive(Debug)]
struct Pending {
    temporary: Temporary,
    target: PathBuf,
    existing: Existing,
    /// The file that it is to replace.
    former: Option<Former>,
}

/// What a file hands on to the one that replaces it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Former {
    mode: u32,
    owner: (u32, u32),
}

impl Former {
    fn of(found: &Metadata) -> Former {
        // Rights that come with the program that it was are not handed on to another one.
        Former { mode: found.mode() & 0o777, owner: (found.uid(), found.gid()) }
    }
}

impl Place {
    /// Begins to write the file at `path`, whose folders are made if `make_folders`.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it cannot be written, [`Code::Exists`] if it is there and is to be kept.
    pub(crate) fn create(
        path: &Path,
        make_folders: bool,
        existing: Existing,
        interrupts: &Interrupts,
    ) -> Result<Place> {
        let created = Place::try_create(path, make_folders, existing, interrupts);
        created.map_err(|error| failed(path, existing, &error))
    }

    fn try_create(
        path: &Path,
        make_folders: bool,
        existing: Existing,
        interrupts: &Interrupts,
    ) -> io::Result<Place> {
        if existing == Existing::Kept && fs::symlink_metadata(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut target = path.to_owned();
        let mut former = None;
        if existing == Existing::ReplacedItself && path.is_symlink() {
            // Nothing is handed on by a link.
        } else if let Ok(there) = fs::metadata(path) {
            if there.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if !there.is_file() {
                let device = OpenOptions::new().write(true).open(path)?;
                let way = Way::Into(Patient::new(device));
                return Ok(Place { way, folders: Folders::default(), links: None });
            }
            // Through a link to the file that it stands for, as any other writing goes.
            target = fs::canonicalize(path)?;
            check_writable(&target, &there)?;
            former = Some(Former::of(&there));
        } else if let Ok(leads_to) = fs::read_link(path) {
            // Through one to a file that is not there yet as well: the link itself is somebody's choice.
            target = follow(path, leads_to)?;
        }
        let folder = folder_of(&target);
        let mut folders = Folders::default();
        if make_folders {
            folders.make(&folder, interrupts)?;
        }
        let temporary = interrupts.temporary(unused_name(&folder));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        if former.is_some() {
            options.mode(0o600); // it may be private; its own mode follows
        }
        let file = options.open(temporary.path())?;
        let way = Way::Beside(file, Pending { temporary, target, existing, former });
        Ok(Place { way, folders, links: None })
    }

    /// The same place, in which a stored link becomes a link again if it leads to where it may.
    pub(super) fn with_links(self, confines: Confines) -> Place {
        Place { links: Some(confines), ..self }
    }

    /// What is left of earlier retrievals into this place.
    pub(super) fn partials(&self) -> Vec<Partial> {
        match &self.way {
            Way::Beside(_, pending) => partial::of(&pending.target),
            Way::Into(_) => Vec::new(),
        }
    }

    /// Goes on with what is left. Gives the digest of what is there, and how many bytes that are; `None`,
    /// and nothing has changed, if it cannot be.
    pub(super) fn go_on(&mut self, partial: &Partial) -> Option<(Digester, u64)> {
        let Way::Beside(file, pending) = &mut self.way else { return None };
        let (found, hasher, bytes) = partial.open().ok().flatten()?;
        *file = found;
        // The new file goes.
        pending.temporary = pending.temporary.another_that_stays(partial.path().to_owned());
        Some((hasher, bytes))
    }

    /// From now on what is there stays if this ends early: it is the beginning of this version.
    pub(super) fn stay(&mut self, version: VersionId) {
        let Way::Beside(file, pending) = &mut self.way else { return };
        let Some(path) = partial::path_of(&pending.target, version) else { return };
        // Where that cannot be, it begins anew the next time.
        if !path.exists() && file.try_lock().is_ok() {
            let _ = pending.temporary.stay_as(path);
        }
    }

    /// Begins anew in the same file.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it cannot be written.
    pub(super) fn begin_anew(&mut self) -> Result<()> {
        let Way::Beside(file, _) = &mut self.way else { return Ok(()) };
        let emptied = file.set_len(0).and_then(|()| file.rewind());
        emptied
            .map_err(|e| Error::other(Code::LocalFile, format!("cannot write it: {}", reason(&e))))
    }

    /// Gives the file its name, once it is on the disk.
    ///
    /// # Errors
    /// [`Code::LocalFile`] or [`Code::Exists`]; nothing is left then.
    pub(crate) fn keep(self) -> Result<()> {
        self.keep_with(FileAttributes::default())
    }

    /// The same, with the time and the right to be run that were stored with it.
    ///
    /// # Errors
    /// As [`Place::keep`].
    pub(crate) fn keep_with(self, attributes: FileAttributes) -> Result<()> {
        let Place { way, mut folders, links } = self;
        match way {
            Way::Beside(mut file, pending) => {
                let (target, existing) = (pending.target.clone(), pending.existing);
                let kept = match links {
                    Some(confines) if attributes.is_link() => {
                        pending.keep_as_link(&mut file, confines)
                    }
                    _ => pending.keep(&mut file, attributes),
                };
                kept.map_err(|error| failed(&target, existing, &error))?;
            }
            Way::Into(mut device) => device.settle().map_err(|error| {
                Error::other(Code::LocalFile, format!("cannot write it: {}", reason(&error)))
            })?,
        }
        folders.0.drain(..).for_each(Temporary::keep);
        Ok(())
    }
}

impl Pending {
    fn keep(self, file: &mut File, attributes: FileAttributes) -> io::Result<()> {
        let Pending { temporary, target, existing, former } = self;
        let is_like_former = match former {
            Some(former) => hand_on(former, file)?,
            None => true,
        };
        if !is_like_former {
            return write_over(&target, file);
        }
        give(attributes, file)?;
        file.sync_all()?;
        match existing {
            Existing::Kept => temporary.keep_as_new(&target)?,
            Existing::Replaced | Existing::ReplacedItself => match temporary.keep_as(&target) {
                Err(error) if is_mount_point(&error) => return write_over(&target, file),
                renamed => renamed?,
            },
        }
        // A file system that cannot do this keeps names in its own way.
        let _ = File::open(folder_of(&target)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Pending {
    /// Makes a link of what has come.
    fn keep_as_link(self, file: &mut File, confines: Confines) -> io::Result<()> {
        let Pending { temporary, target, existing, .. } = self;
        file.rewind()?;
        let leads_to = link::read_target(file, confines)?;
        fs::remove_file(temporary.path())?;
        symlink(leads_to, temporary.path())?;
        match existing {
            Existing::Kept => temporary.keep_as_new(&target),
            Existing::Replaced | Existing::ReplacedItself => temporary.keep_as(&target),
        }
    }
}

/// Gives a file the owner and the mode of the one that it replaces; false where this user cannot.
fn hand_on(former: Former, file: &File) -> io::Result<bool> {
    let now = file.metadata()?;
    let (uid, gid) = former.owner;
    if (now.uid(), now.gid()) != former.owner && fchown(file, Some(uid), Some(gid)).is_err() {
        return Ok(false);
    }
    file.set_permissions(Permissions::from_mode(former.mode))?;
    Ok(true)
}

fn write_over(target: &Path, file: &mut File) -> io::Result<()> {
    file.rewind()?;
    write_in_place(target, file)
}

/// Where a link leads whose end is missing. Of a chain of links only one may be broken.
fn follow(link: &Path, leads_to: PathBuf) -> io::Result<PathBuf> {
    let target = folder_of(link).join(leads_to);
    let (Some(name), false) = (target.file_name(), target.is_symlink()) else {
        return Err(io::Error::other("it is a link that leads nowhere"));
    };
    match fs::canonicalize(folder_of(&target)) {
        Ok(folder) => Ok(folder.join(name)),
        Err(_) => Err(io::Error::other("it is a link that leads nowhere")),
    }
}

/// A rename asks nobody whether the file that it replaces may be written.
fn check_writable(path: &Path, found: &Metadata) -> io::Result<()> {
    if found.permissions().readonly() {
        return Err(io::Error::other("it is read-only"));
    }
    match OpenOptions::new().write(true).open(path) {
        // A program that runs can be replaced and not written.
        Err(error) if error.kind() != io::ErrorKind::ExecutableFileBusy => Err(error),
        _ => Ok(()),
    }
}

fn folder_of(target: &Path) -> PathBuf {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.way {
            Way::Beside(file, _) => file.write(bytes),
            Way::Into(device) => device.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.way {
            Way::Beside(file, _) => file.flush(),
            Way::Into(device) => device.settle(),
        }
    }
}

/// Folders that were made, outermost first, and that go again unless they are kept.
#[derive(Default, Debug)]
struct Folders(Vec<Temporary>);

impl Folders {
    fn make(&mut self, folder: &Path, interrupts: &Interrupts) -> io::Result<()> {
        let missing = folder
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        for folder in missing.collect::<Vec<_>>().into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => self.0.push(interrupts.temporary(folder.to_owned())),
                // Another file that goes there was quicker: it is that one's.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        while self.0.pop().is_some() {} // innermost first
    }
}

fn failed(path: &Path, existing: Existing, error: &io::Error) -> Error {
    if existing == Existing::Kept && error.kind() == io::ErrorKind::AlreadyExists {
        return Error::other(Code::Exists, format!("{} is there already", path.display()));
    }
    let text = format!("cannot write {}: {}", path.display(), reason(error));
    Error::other(Code::LocalFile, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::FileKind;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let path = folder.path().join("a/b/file");
        let mut place = Place::create(&path, true, Existing::Replaced, &interrupts).unwrap();
        place.write_all(b"x").unwrap();
        drop(place);
        assert!(names(folder.path()).is_empty());
        assert!(Place::create(&path, false, Existing::Replaced, &interrupts).is_err());
        let mut place = Place::create(&path, true, Existing::Replaced, &interrupts).unwrap();
        place.write_all(b"x").unwrap();
        assert!(!path.exists());
        place.keep().unwrap();
        assert_eq!(names(&folder.path().join("a/b")), ["file"]);
    }

    #[test]
    fn files_that_come_into_a_new_folder_at_the_same_time_do_not_get_in_each_others_way() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = &Interrupts::default();
        for round in 0..50 {
            let deep = &folder.path().join(format!("{round}/a/b"));
            std::thread::scope(|scope| {
                for name in 0..4 {
                    scope.spawn(move || {
                        let path = deep.join(name.to_string());
                        let place = Place::create(&path, true, Existing::Replaced, interrupts);
                        place.unwrap().keep().unwrap();
                    });
                }
            });
            assert_eq!(names(deep).len(), 4);
        }
    }

    #[test]
    fn a_link_to_a_file_that_is_missing_leads_to_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let at = |name: &str| folder.path().join(name);
        let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
        fs::create_dir(at("disk")).unwrap();
        link("link", "disk/file");
        let create = |name: &str| Place::create(&at(name), false, Existing::Replaced, &interrupts);
        let mut place = create("link").unwrap();
        place.write_all(b"x").unwrap();
        place.keep().unwrap();
        assert!(at("link").is_symlink());
        assert_eq!(fs::read(at("disk/file")).unwrap(), b"x");
        // Nothing is made where its disk is not mounted, and a ring has no end.
        link("away", "unmounted/file");
        link("ring", "ring");
        for name in ["away", "ring"] {
            let error = create(name).unwrap_err();
            assert!(error.to_string().ends_with("it is a link that leads nowhere"), "{error}");
            assert!(at(name).is_symlink());
        }
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        let place = Place::create(&path, false, Existing::Replaced, &interrupts).unwrap();
        drop(place);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let error =
            Place::create(folder.path(), false, Existing::Replaced, &interrupts).unwrap_err();
        assert_eq!(error.code(), Code::LocalFile);
    }

    #[test]
    fn a_device_stays_a_device_and_a_link_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let null =
            Place::create(Path::new("/dev/null"), false, Existing::Replaced, &interrupts).unwrap();
        assert!(matches!(null.way, Way::Into(_)));
        null.keep().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut place = Place::create(&link, false, Existing::Replaced, &interrupts).unwrap();
        place.write_all(b"new").unwrap();
        place.keep().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }

    #[test]
    fn what_is_replaced_hands_on_its_mode_and_a_read_only_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let path = folder.path().join("key.pem");
        let set_mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        fs::write(&path, "old").unwrap();
        for mode in [0o600, 0o640, 0o755] {
            set_mode(mode);
            let mut place = Place::create(&path, false, Existing::Replaced, &interrupts).unwrap();
            place.write_all(b"new").unwrap();
            for other in fs::read_dir(folder.path()).unwrap() {
                let other = other.unwrap();
                if other.path() != path {
                    assert_eq!(other.metadata().unwrap().mode() & 0o777, 0o600);
                }
            }
            place.keep().unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
        }
        set_mode(0o444);
        let error = Place::create(&path, false, Existing::Replaced, &interrupts).unwrap_err();
        assert!(error.to_string().ends_with("key.pem: it is read-only"), "{error}");
    }

    #[test]
    fn a_file_that_is_kept_is_kept_also_if_it_comes_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let path = folder.path().join("file");
        let create = || Place::create(&path, false, Existing::Kept, &interrupts);
        create().unwrap().keep().unwrap();
        assert_eq!(create().unwrap_err().code(), Code::Exists);
        fs::remove_file(&path).unwrap();
        let mut place = create().unwrap();
        place.write_all(b"new").unwrap();
        fs::write(&path, "mine").unwrap();
        assert_eq!(place.keep().unwrap_err().code(), Code::Exists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn what_was_stored_with_the_bytes_is_given_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let path = folder.path().join("run.sh");
        let kept = |modified_ms, executable: Option<bool>| {
            let place = Place::create(&path, false, Existing::Replaced, &interrupts).unwrap();
            let kind =
                executable.map(|yes| if yes { FileKind::Executable } else { FileKind::Plain });
            place.keep_with(FileAttributes { modified_ms, kind }).unwrap();
            let found = fs::metadata(&path).unwrap();
            (found.mtime(), found.mode() & 0o777)
        };
        kept(None, None);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(kept(Some(1_000_000_000_000), Some(true)), (1_000_000_000, 0o750));
        assert_eq!(kept(Some(-5_000), None), (-5, 0o750));
        assert_eq!(kept(Some(i64::MAX), Some(false)).1, 0o640);
        assert_eq!(kept(Some(i64::MIN), None).1, 0o640);
    }

    const LINK: FileAttributes = FileAttributes { modified_ms: None, kind: Some(FileKind::Link) };

    /// Keeps a link of this target at a path; how that ends.
    fn keep_link(
        path: &Path,
        leads_to: &str,
        confines: Confines,
        existing: Existing,
    ) -> Result<()> {
        let place = Place::create(path, true, existing, &Interrupts::default())?;
        let mut place = place.with_links(confines);
        place.write_all(leads_to.as_bytes()).unwrap();
        place.keep_with(LINK)
    }

    #[test]
    fn a_stored_link_is_a_link_again_and_replaces_what_is_there_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (link, other) = (folder.path().join("link"), folder.path().join("other"));
        fs::write(&other, "other").unwrap();
        let itself = Existing::ReplacedItself;
        keep_link(&link, "other", Confines::within(folder.path(), &link), itself).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("other"));
        keep_link(&link, "/etc/passwd", Confines::Nowhere, itself).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(
            keep_link(&link, "x", Confines::Nowhere, Existing::Kept).unwrap_err().code(),
            Code::Exists
        );
        for bad in ["", "a\0b", &"x".repeat(5000)] {
            let error = keep_link(&link, bad, Confines::Nowhere, itself).unwrap_err();
            assert!(error.to_string().ends_with("leads to no path"), "{error}");
        }
        // A file that comes in its place is not written through it.
        keep_link(&link, "other", Confines::Nowhere, itself).unwrap();
        let mut place = Place::create(&link, false, itself, &Interrupts::default()).unwrap();
        place.write_all(b"new").unwrap();
        place.keep().unwrap();
        assert!(!link.is_symlink() && fs::read(&other).unwrap() == b"other");
        assert_eq!(names(folder.path()).len(), 2);
    }
}
