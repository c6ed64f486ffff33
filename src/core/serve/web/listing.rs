//! A folder for people: its page, which can be read without a script, and the same as JSON for the script.

use hyper::body::Incoming;

use super::api::{told, when};
use super::asked::{Asked, Done, FILES, Outcome, Refusal, Service, modified_ms};
use super::page::{self, FOLDERS};
use super::session::redirect;
use super::{Visit, not_allowed};
use crate::core::catalog::Scope;
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{Request, Response};
use crate::core::path::FolderPath;
use crate::core::serve::meter::Verb;
use crate::core::types::NODE_COUNT;
use crate::core::wire::extended::{Entry, FileEntry, When};
use crate::core::wire::web::form::{self, Form};
use crate::core::wire::web::html::{escaped, size};
use crate::core::wire::web::json::{Item, Listing};
use crate::core::wire::web::{date, href};

/// How many entries a script is told at a time.
const ENTRIES_MAX: usize = 1000;

/// How many stand on a page that is read without a script.
const ROWS_MAX: usize = 500;

impl Visit {
    /// The page of a folder.
    pub(super) async fn folder_page(&self, request: Request) -> Response {
        if !matches!(request.method().as_str(), "GET" | "HEAD") {
            return not_allowed("GET, HEAD");
        }
        let (head, body) = request.into_parts();
        if let Some(response) = self.ask_to_sign_in(&head) {
            return response;
        }
        let request = Request::from_parts(head, body);
        let service = Service { root: FOLDERS, named: (Verb::List, "listed"), verbs: "GET, HEAD" };
        self.ask(request, service, async |asked: &mut Asked, _: &mut Incoming| {
            asked.folder_page().map_err(|error| {
                let page = page::failed(&error);
                Refusal::from(error).saying(page)
            })
        })
        .await
    }
}

/// Some entries of a folder, and the name of the last one if more may follow.
type Slice = (Vec<Entry>, Option<String>);

impl Asked {
    /// What comes in the folder behind the name that is asked for.
    fn slice(&self, form: &Form, at: Option<&When>, most: usize) -> Result<Slice> {
        let after = form.get("after").filter(|name| !name.is_empty());
        let after = after.map(|name| self.path.join(name)).transpose()?;
        let after = after.map(|path| Entry::Folder(path.as_folder()));
        let (files, scope) = (self.files(), Scope::Children);
        let page = match at {
            None => files.page(&self.user, &self.path, scope, after.as_ref(), most)?,
            Some(at) => files.page_at(&self.user, &self.path, scope, at, after.as_ref(), most)?,
        };
        let last = page.last().filter(|_| page.len() == most).map(|last| Item::from(last).name);
        Ok((page, last))
    }

    /// The folder as JSON.
    pub(super) fn list(&self, form: &Form) -> Outcome {
        let at = when(form)?;
        let there = match &at {
            None => self.files().look(&self.user, &self.path),
            Some(at) => self.files().look_at(&self.user, &self.path, at),
        };
        if !matches!(there?, Entry::Folder(_)) {
            return Err(Error::NoSuchFolder(self.path.clone()).into());
        }
        let (page, after) = self.slice(form, at.as_ref(), ENTRIES_MAX)?;
        told(&Listing { entries: page.iter().map(Item::from).collect(), after })
    }

    fn folder_page(&self) -> Result<Done> {
        match self.files().look(&self.user, &self.path) {
            Ok(Entry::Folder(_)) => {}
            Ok(Entry::File(_)) => return Ok(redirect(&self.href(&self.path, false)).into()),
            // The folder that it would be in may be missing as well.
            Err(error) if error.code() == Code::NoSuchFile => {
                return Err(Error::NoSuchFolder(self.path.clone()));
            }
            Err(error) => return Err(error),
        }
        // A script asks for an earlier time; without one there is only now.
        let form = Form::decode(self.head.uri.query().unwrap_or_default())?;
        let (page, last) = self.slice(&form, None, ROWS_MAX)?;
        let folder = self.seen(&self.path);
        let rows: String = page.iter().map(|entry| self.row(entry)).collect();
        let more = last.map_or(String::new(), |last| {
            format!(
                "<p class=\"more\"><a href=\"?after={}\">Next page</a></p>",
                escaped(&form::escaped(&last))
            )
        });
        let empty = if page.is_empty() { "<p class=\"empty\">Nothing is here.</p>" } else { "" };
        let name = folder.split().map_or("Files", |(_, name)| name);
        Ok(page::folder(&[
            ("title", &escaped(name)),
            ("user", &escaped(self.user.name.as_str())),
            ("crumbs", &crumbs(&folder)),
            ("zip", &href::encode("/api/zip/", &folder, true)),
            ("rows", &rows),
            ("empty", empty),
            ("more", &more),
        ])
        .into())
    }

    fn row(&self, entry: &Entry) -> String {
        match entry {
            Entry::Folder(path) => {
                let name = escaped(path.split().map_or("", |(_, name)| name));
                let address = href::encode(FOLDERS, &self.seen(path), true);
                format!(
                    "<tr class=\"folder\"><td></td><td class=\"name\"><a href=\"{address}\">{name}</a></td>\
                     <td class=\"size\"></td><td class=\"date\"></td><td class=\"nodes\"></td></tr>\n"
                )
            }
            Entry::File(file) => self.file_row(file),
        }
    }

    fn file_row(&self, file: &FileEntry) -> String {
        let name = escaped(file.path.name());
        let address = href::encode(FILES, &self.seen(&file.path.as_folder()), false);
        let (bytes, modified) = (size(file.bytes), date::iso(modified_ms(file)));
        let day = modified.split('T').next().unwrap_or_default();
        let nodes = file.placed.len();
        format!(
            "<tr class=\"file\"><td></td><td class=\"name\"><a href=\"{address}\" download>{name}</a></td>\
             <td class=\"size\">{bytes}</td>\
             <td class=\"date\"><time datetime=\"{modified}\">{day}</time></td>\
             <td class=\"nodes\">{nodes} of {NODE_COUNT}</td></tr>\n"
        )
    }
}

/// The way from the top folder to this one.
fn crumbs(folder: &FolderPath) -> String {
    let mut out = format!("<a href=\"{FOLDERS}\">Files</a>");
    for above in folder.ancestry() {
        let name = escaped(above.split().map_or("", |(_, name)| name));
        let address = href::encode(FOLDERS, &above, true);
        out.push_str(&format!(" <span>/</span> <a href=\"{address}\">{name}</a>"));
    }
    out
}
