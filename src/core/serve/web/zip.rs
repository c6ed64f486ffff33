//! A folder, or some of what is in it, as a zip archive: made as it is sent, out of files that are stored in
//! it as they are. Nothing is put aside, on the disk or in memory, but the list at the archive's end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::rc::Rc;

use hyper::body::{Bytes, Incoming};
use hyper::header;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::api::when;
use super::asked::{Asked, Done, Outcome, missing, modified_ms};
use super::files::PAGE;
use super::{Told, Visit, body, set};
use crate::core::catalog::Scope;
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{Content, Response};
use crate::core::io::listener::Busy;
use crate::core::path::{FilePath, FolderPath};
use crate::core::serve::files::{Files, User};
use crate::core::serve::meter::Verb;
use crate::core::serve::retrieve::Retrieve;
use crate::core::wire::extended::{Entry, FileEntry, When, Which};
use crate::core::wire::web::date;
use crate::core::wire::web::form::{self, Form};

/// The longest form that names what is to be in an archive, in bytes.
const FORM_BYTES_MAX: usize = 512 << 10;

/// The most files and folders in an archive: its list is kept in memory until the end.
const ENTRIES_MAX: usize = 200_000;

/// So much is sent at a time, and is at most kept before.
const PART_BYTES: usize = 64 << 10;

/// A file of more bytes than this needs the longer numbers of zip64.
const LARGE_BYTES: u64 = 0xf000_0000;

impl Asked {
    /// The names that are wanted, of a form that may be too long for an address.
    pub(super) async fn zip_form(&self, body: &mut Incoming) -> Result<Form> {
        let text = body::short(body, FORM_BYTES_MAX).await?;
        Form::decode(&String::from_utf8_lossy(&text))
    }

    pub(super) fn zip(&mut self, form: &Form) -> Outcome {
        let at = when(form)?;
        let there = match &at {
            None => self.look(&self.path)?.ok_or_else(|| missing(&self.path))?,
            Some(at) => self.files().look_at(&self.user, &self.path, at)?,
        };
        if !matches!(there, Entry::Folder(_)) {
            return Err(Error::NoSuchFolder(self.path.clone()).into());
        }
        let mut waiting = VecDeque::new();
        for name in form.all("name") {
            let path = self.path.join(name).map_err(Error::from)?.as_folder();
            waiting.push_back(match &at {
                None => self.files().look(&self.user, &path)?,
                Some(at) => self.files().look_at(&self.user, &path, at)?,
            });
        }
        if waiting.is_empty() {
            waiting.push_back(Entry::Folder(self.path.clone()));
        }
        let name = match (waiting.len(), waiting.front()) {
            (1, Some(Entry::File(file))) => file.path.name().to_owned(),
            (1, Some(Entry::Folder(folder))) => {
                folder.split().map_or("Files", |(_, name)| name).to_owned()
            }
            _ => self.path.split().map_or("Files", |(_, name)| name).to_owned(),
        };
        let mut zipping = Zipping {
            visit: self.visit,
            files: self.files(),
            user: self.user.clone(),
            begun: self.begun,
            base: self.path.clone(),
            at,
            waiting,
            walk: None,
            current: None,
            entries: 0,
            sent: 0,
            is_logged: false,
            out: Out::default(),
            writer: None,
            _busy: self.busy.take(),
        };
        zipping.writer = Some(ZipWriter::new_stream(zipping.out.clone()));
        let mut response = Response::new(Content::parts(None, move || zipping.next()));
        set(&mut response, header::CONTENT_TYPE, "application/zip");
        let name = format!("attachment; filename*=UTF-8''{}.zip", form::escaped(&name));
        set(&mut response, header::CONTENT_DISPOSITION, &name);
        set(&mut response, header::CACHE_CONTROL, "no-store");
        Ok(Done { is_logged: true, ..Done::from(response) })
    }
}

/// What has been made of the archive and not been sent.
#[derive(Clone, Default)]
struct Out(Rc<RefCell<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder that is being walked through.
struct Walk {
    folder: FolderPath,
    after: Option<Entry>,
    page: VecDeque<Entry>,
}

/// An archive on its way to a client.
struct Zipping {
    visit: Visit,
    files: &'static Files,
    user: User,
    begun: std::time::Instant,
    /// The names in the archive begin in this folder.
    base: FolderPath,
    at: Option<When>,
    /// What was asked for and has not been begun.
    waiting: VecDeque<Entry>,
    walk: Option<Walk>,
    current: Option<Retrieve<'static>>,
    entries: usize,
    sent: u64,
    is_logged: bool,
    out: Out,
    /// `None`: the archive is finished.
    writer: Option<ZipWriter<StreamWriter<Out>>>,
    _busy: Option<Busy<'static>>,
}

impl Zipping {
    fn next(&mut self) -> Result<Option<Bytes>> {
        let next = self.fill();
        match &next {
            Ok(Some(bytes)) => self.sent += bytes.len() as u64,
            Ok(None) => self.log(&Ok(())),
            Err(error) => self.log(&Err(Error::other(error.code(), error.to_string()))),
        }
        next
    }

    fn fill(&mut self) -> Result<Option<Bytes>> {
        while self.out.0.borrow().len() < PART_BYTES && self.writer.is_some() {
            self.go_on()?;
        }
        let bytes = std::mem::take(&mut *self.out.0.borrow_mut());
        Ok((!bytes.is_empty()).then(|| Bytes::from(bytes)))
    }

    /// Puts a little more into the archive.
    fn go_on(&mut self) -> Result<()> {
        if let Some(retrieve) = &mut self.current {
            let parts = retrieve.next_part()?;
            let writer = self.writer.as_mut().ok_or_else(finished)?;
            match parts {
                Some(parts) => parts
                    .into_iter()
                    .try_for_each(|part| writer.write_all(part))
                    .map_err(Error::io("cannot make the archive"))?,
                None => self.current = None,
            }
            return Ok(());
        }
        match self.next_entry()? {
            Some(entry) => self.add(&entry),
            None => {
                let writer = self.writer.take().ok_or_else(finished)?;
                writer.finish().map(drop).map_err(not_made)
            }
        }
    }

    fn next_entry(&mut self) -> Result<Option<Entry>> {
        loop {
            let Some(walk) = &mut self.walk else {
                let Some(entry) = self.waiting.pop_front() else { return Ok(None) };
                if let Entry::Folder(folder) = &entry {
                    let folder = folder.clone();
                    self.walk = Some(Walk { folder, after: None, page: VecDeque::new() });
                }
                if matches!(&entry, Entry::Folder(folder) if *folder == self.base) {
                    continue;
                }
                return Ok(Some(entry));
            };
            if let Some(entry) = walk.page.pop_front() {
                return Ok(Some(entry));
            }
            let (folder, after) = (&walk.folder, walk.after.as_ref());
            let page = match &self.at {
                None => self.files.page(&self.user, folder, Scope::All, after, PAGE)?,
                Some(at) => self.files.page_at(&self.user, folder, Scope::All, at, after, PAGE)?,
            };
            match page.last() {
                None => self.walk = None,
                Some(last) => {
                    walk.after = Some(last.clone());
                    walk.page = page.into();
                }
            }
        }
    }

    fn add(&mut self, entry: &Entry) -> Result<()> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            let text = format!("an archive has at most {ENTRIES_MAX} files and folders");
            return Err(Error::other(Code::TooBig, text));
        }
        match entry {
            Entry::Folder(folder) => {
                let writer = self.writer.as_mut().ok_or_else(finished)?;
                let name = below(&self.base, folder.as_str());
                writer.add_directory(name, options(0, None)).map_err(not_made)
            }
            Entry::File(file) => {
                let FileEntry { path, version, .. } = file;
                // The very version that the listing has told, if it is kept; a file that has gone since
                // is left out.
                let which = match &self.at {
                    None => Which::Current,
                    Some(_) => Which::Version(version.to_string()),
                };
                let retrieve = match self.retrieve(path, &which) {
                    Err(error) if error.code() == Code::NoSuchFile => return Ok(()),
                    retrieve => retrieve?,
                };
                let options = options(retrieve.bytes, Some(modified_ms(file)));
                let name = below(&self.base, path.as_str());
                let writer = self.writer.as_mut().ok_or_else(finished)?;
                writer.start_file(name, options).map_err(not_made)?;
                self.current = Some(retrieve);
                Ok(())
            }
        }
    }

    fn retrieve(&self, path: &FilePath, which: &Which) -> Result<Retrieve<'static>> {
        self.files.retrieve_which(&self.user, path, which, None)
    }

    fn log(&mut self, outcome: &Result<()>) {
        if std::mem::replace(&mut self.is_logged, true) {
            return;
        }
        let path = FilePath::parse_rooted(self.base.as_str()).ok();
        let told = Told { path: path.as_ref(), bytes: Some(self.sent), nodes: None, outcome };
        self.visit.log(&self.user, (Verb::Retrieve, "archive made"), self.begun, told);
    }
}

impl Drop for Zipping {
    fn drop(&mut self) {
        self.log(&Err(Error::Closed("before the archive was sent".into())));
    }
}

/// A path as the archive has it: from the folder on that it begins in.
fn below(base: &FolderPath, path: &str) -> String {
    let rest = path.strip_prefix(base.as_str()).unwrap_or(path);
    rest.strip_prefix('/').unwrap_or(rest).to_owned()
}

fn options(bytes: u64, modified_ms: Option<i64>) -> SimpleFileOptions {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(bytes > LARGE_BYTES);
    let civil = modified_ms.and_then(date::civil);
    let modified = civil.and_then(|[year, month, day, hour, minute, second]| {
        let byte = |number: i16| u8::try_from(number).ok();
        let year = u16::try_from(year).ok()?;
        let (month, day) = (byte(month)?, byte(day)?);
        let (hour, minute, second) = (byte(hour)?, byte(minute)?, byte(second)?);
        DateTime::from_date_and_time(year, month, day, hour, minute, second).ok()
    });
    options.last_modified_time(modified.unwrap_or_default())
}

fn not_made(error: zip::result::ZipError) -> Error {
    Error::other(Code::Unexpected, format!("cannot make the archive: {error}"))
}

fn finished() -> Error {
    Error::other(Code::Unexpected, "the archive is finished already")
}
