//! `PROPFIND` and `PROPPATCH`: what is known of files and folders. The answer about a folder is written page
//! by page, so it takes no more memory for a hundred thousand files than for ten.

use std::collections::{BTreeMap, HashSet};

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header;

use super::asked::{Asked, Outcome, Refusal, missing, modified_ms};
use super::dav::{Depth, as_xml};
use super::files::{PAGE, kind_of};
use super::set;
use crate::core::catalog::Scope;
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{Content, Response};
use crate::core::path::FolderPath;
use crate::core::wire::extended::Entry;
use crate::core::wire::journal::Property;
use crate::core::wire::web::conditions;
use crate::core::wire::web::date;
use crate::core::wire::web::dav::{self as xml, DAV, Name, Wanted};

/// What the server itself says of files and folders, and no program can set.
const LIVE: [&str; 11] = [
    "creationdate",
    "displayname",
    "getcontentlength",
    "getcontenttype",
    "getetag",
    "getlastmodified",
    "lockdiscovery",
    "quota-available-bytes",
    "quota-used-bytes",
    "resourcetype",
    "supportedlock",
];

/// Of these an answer that tells "all" says nothing, as they have to be asked for (RFC 4331).
const UNASKED: [&str; 2] = ["quota-available-bytes", "quota-used-bytes"];

/// How much is left and used, once for a whole answer.
#[derive(Clone, Copy)]
struct Room {
    used: u64,
    left: Option<u64>,
}

impl Asked {
    /// `PROPFIND`.
    pub(super) fn propfind(&mut self, body: &[u8]) -> Outcome {
        let wanted = xml::propfind(body)?;
        let scope = match self.depth() {
            Some(Depth::Zero) => None,
            Some(Depth::One) => Some(Scope::Children),
            None | Some(Depth::Infinity) => Some(Scope::All),
            Some(Depth::Unknown) => {
                return Err(Error::Protocol("Depth is 0, 1 or infinity".into()).into());
            }
        };
        let entry = self.look(&self.path)?.ok_or_else(|| missing(&self.path))?;
        let scope = scope.filter(|_| matches!(entry, Entry::Folder(_)));
        let teller = Teller::new(self, wanted)?;
        let properties = self.files().properties(&self.user, &self.path)?;
        let mut first = Some(xml::multistatus_begin() + &teller.tell(self, &entry, &properties));
        let (asked, mut after) = (self.again(), None);
        let mut is_over = false;
        let content = Content::parts(None, move || {
            if let Some(first) = first.take() {
                return Ok(Some(Bytes::from(first)));
            }
            if is_over {
                return Ok(None);
            }
            let page = match scope {
                Some(scope) => asked.page(scope, after.as_ref())?,
                None => Vec::new(),
            };
            let mut text = String::new();
            let properties = asked.properties_of(&page)?;
            for entry in &page {
                let own = properties.get(path_of(entry)).map_or(&[][..], Vec::as_slice);
                text.push_str(&teller.tell(&asked, entry, own));
            }
            after = page.into_iter().last();
            if after.is_none() {
                is_over = true;
                text.push_str(xml::MULTISTATUS_END);
            }
            Ok(Some(Bytes::from(text)))
        });
        let mut response = Response::new(content);
        *response.status_mut() = StatusCode::MULTI_STATUS;
        set(&mut response, header::CONTENT_TYPE, "application/xml; charset=utf-8");
        set(&mut response, header::CACHE_CONTROL, "no-store");
        Ok(response.into())
    }

    /// The same request for the time in which its answer is sent.
    fn again(&mut self) -> Asked {
        let Asked { visit, begun, .. } = *self;
        let (mut head, ()) = hyper::Request::new(()).into_parts();
        std::mem::swap(&mut head.headers, &mut self.head.headers);
        let (user, path, busy) = (self.user.clone(), self.path.clone(), self.busy.take());
        Asked { visit, user, head, path, begun, busy }
    }

    fn page(&self, scope: Scope, after: Option<&Entry>) -> Result<Vec<Entry>> {
        self.files().page(&self.user, &self.path, scope, after, PAGE)
    }

    /// What programs have given to the entries of a page.
    fn properties_of(&self, page: &[Entry]) -> Result<BTreeMap<String, Vec<Property>>> {
        let mut found = BTreeMap::new();
        // Those in one folder follow one another, more or less.
        let mut folders: BTreeMap<FolderPath, [&str; 2]> = BTreeMap::new();
        for entry in page {
            let path = path_of(entry);
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let Ok(folder) = FolderPath::parse(folder) else { continue };
            let span = folders.entry(folder).or_insert([name, name]);
            *span = [span[0].min(name), span[1].max(name)];
        }
        for (folder, span) in folders {
            for (name, properties) in self.files().properties_in(&self.user, &folder, span)? {
                let path = folder.join(&name)?;
                found.insert(path.as_str().to_owned(), properties);
            }
        }
        Ok(found)
    }

    /// `PROPPATCH`: all of it or nothing.
    pub(super) fn proppatch(&self, body: &[u8]) -> Outcome {
        let entry = self.look(&self.path)?;
        let tokens = self.check(entry.as_ref())?;
        let entry = entry.ok_or_else(|| missing(&self.path))?;
        self.guard(&self.path, false, &tokens)?;
        let patches = xml::proppatch(body)?;
        let is_live = |name: &Name| name.namespace == DAV && LIVE.contains(&name.local.as_str());
        let (live, own): (Vec<_>, Vec<_>) = patches.iter().partition(|(name, _)| is_live(name));
        let names = |of: &[&(Name, Property)]| of.iter().map(|(name, _)| name.empty()).collect();
        let outcome = match live.is_empty() {
            true => {
                let properties = patches.iter().map(|(_, property)| property.clone()).collect();
                self.files().set_properties(&self.user, &self.path, last_of_each(properties))
            }
            false => Err(Error::other(Code::NotAllowed, "the server says this, no program can")),
        };
        let groups = match &outcome {
            Ok(()) => vec![("200 OK", names(&own))],
            Err(error) if error.code() == Code::NoSpace => {
                vec![("507 Insufficient Storage", names(&own))]
            }
            Err(_) if !live.is_empty() => {
                vec![("403 Forbidden", names(&live)), ("424 Failed Dependency", names(&own))]
            }
            Err(_) => return outcome.map(|()| StatusCode::OK.into()).map_err(Refusal::from),
        };
        let href = self.href(&self.path, matches!(entry, Entry::Folder(_)));
        let text = xml::multistatus_begin() + &xml::response(&href, &groups) + xml::MULTISTATUS_END;
        Ok(as_xml(StatusCode::MULTI_STATUS, text).into())
    }
}

/// A property that is set and removed in one request is what it is at the end.
fn last_of_each(properties: Vec<Property>) -> Vec<Property> {
    let mut seen = HashSet::new();
    let mut last: Vec<Property> =
        properties.into_iter().rev().filter(|own| seen.insert(own.name.clone())).collect();
    last.reverse();
    last
}

fn path_of(entry: &Entry) -> &str {
    match entry {
        Entry::Folder(folder) => folder.as_str(),
        Entry::File(file) => file.path.as_str(),
    }
}

/// Says what is wanted of each entry.
struct Teller {
    wanted: Wanted,
    room: Option<Room>,
}

impl Teller {
    fn new(asked: &Asked, wanted: Wanted) -> Result<Teller> {
        let names = match &wanted {
            Wanted::All(names) | Wanted::Some(names) => names.as_slice(),
            Wanted::Names => &[],
        };
        let asks_for_room = names
            .iter()
            .any(|name| name.namespace == DAV && UNASKED.contains(&name.local.as_str()));
        let room = asks_for_room.then(|| {
            let usage = asked.files().usage(&asked.user)?;
            let left = usage.quota_bytes.map(|quota| quota.saturating_sub(usage.bytes));
            Ok::<_, Error>(Room { used: usage.bytes, left })
        });
        Ok(Teller { wanted, room: room.transpose()? })
    }

    fn tell(&self, asked: &Asked, entry: &Entry, given: &[Property]) -> String {
        let href = asked.href(&whole(entry), matches!(entry, Entry::Folder(_)));
        let usual = LIVE.iter().filter(|name| !UNASKED.contains(name)).map(|name| Name::dav(name));
        let given_names = given.iter().filter_map(|own| Name::of_kept(&own.name));
        let (names, is_by_name) = match &self.wanted {
            Wanted::Names => {
                let there = usual.filter(|name| self.live(asked, entry, name).is_some());
                let names = there.chain(given_names).map(|name| name.empty()).collect();
                return xml::response(&href, &[("200 OK", names)]);
            }
            Wanted::All(more) => {
                (usual.chain(given_names).chain(more.iter().cloned()).collect::<Vec<_>>(), false)
            }
            Wanted::Some(names) => (names.clone(), true),
        };
        let (mut found, mut lacking) = (Vec::new(), Vec::new());
        for name in &names {
            let kept = name.kept();
            let own = given.iter().find(|property| property.name == kept);
            match self.live(asked, entry, name).or_else(|| own?.value.clone()) {
                Some(value) => found.push(value),
                None if is_by_name => lacking.push(name.empty()),
                None => {}
            }
        }
        xml::response(&href, &[("200 OK", found), ("404 Not Found", lacking)])
    }

    /// What the server itself says, as an element.
    fn live(&self, asked: &Asked, entry: &Entry, name: &Name) -> Option<String> {
        if name.namespace != DAV {
            return None;
        }
        let file = match entry {
            Entry::File(file) => Some(file),
            Entry::Folder(_) => None,
        };
        let local = name.local.as_str();
        let value = match local {
            "resourcetype" => match file {
                Some(_) => String::new(),
                None => "<D:collection/>".to_owned(),
            },
            "displayname" => xml::escaped(path_of(entry).rsplit('/').next().unwrap_or_default()),
            "creationdate" => date::iso(file?.stored_ms),
            "getlastmodified" => date::http(modified_ms(file?)),
            "getcontentlength" => file?.bytes.to_string(),
            "getcontenttype" => kind_of(file?.path.name()).to_owned(),
            "getetag" => xml::escaped(&conditions::tag_of(file?.version)),
            "quota-used-bytes" if file.is_none() => self.room?.used.to_string(),
            "quota-available-bytes" if file.is_none() => self.room?.left?.to_string(),
            "supportedlock" => return Some(xml::SUPPORTED_LOCK.to_owned()),
            "lockdiscovery" => {
                let locks = asked.visit.web.locks.covering(asked.account(), &whole(entry));
                return Some(asked.discovery(&locks));
            }
            _ => return None,
        };
        Some(format!("<D:{local}>{value}</D:{local}>"))
    }
}

fn whole(entry: &Entry) -> FolderPath {
    match entry {
        Entry::Folder(folder) => folder.clone(),
        Entry::File(file) => file.path.as_folder(),
    }
}
