//! What there is of uploads, and what a change makes of it.

use std::collections::BTreeMap;

use palk::core::catalog::Catalog;
use palk::core::path::UserName;
use palk::core::types::Digest;

use super::change::make_way;
use super::contents::{Contents, Part, Run};
use super::server::USERS;
use super::state::{Item, Tree};

/// An upload that nobody goes on with is dropped after a day.
pub(crate) const KEPT_US: i64 = 24 * 3_600 * 1_000_000;

/// What an upload is known by: the time of modification that its file is to keep. Its id is not known before
/// a server has answered.
pub(crate) type Label = i64;

/// An upload.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Upload {
    pub(crate) user: &'static str,
    pub(crate) path: String,
    pub(crate) bytes: Option<u64>,
    /// What has come, by number; what comes by bytes has the number 0.
    pub(crate) parts: BTreeMap<u32, Part>,
    /// When it was last touched, or a time before that, in microseconds since 1970.
    pub(crate) touched_us: i64,
}

/// All of them.
pub(crate) type Uploads = BTreeMap<Label, Upload>;

impl Upload {
    /// May it have been dropped, where clocks have told no more than this time?
    pub(crate) fn may_be_over(&self, latest_us: i64) -> bool {
        self.touched_us + KEPT_US <= latest_us
    }

    fn is_like(&self, other: &Upload) -> bool {
        let told = |own: &Upload| (own.user, own.path.clone(), own.bytes, own.parts.clone());
        told(self) == told(other)
    }
}

/// Are these what is shown, but for those that were dropped for their age?
pub(crate) fn may_be(own: &Uploads, shown: &Uploads, latest_us: i64) -> bool {
    let is_so = |(label, own): (&Label, &Upload)| match shown.get(label) {
        Some(shown) => own.is_like(shown),
        None => own.may_be_over(latest_us),
    };
    own.iter().all(is_so) && shown.keys().all(|label| own.contains_key(label))
}

/// In what they differ from those that are shown.
pub(crate) fn differences(own: &Uploads, shown: &Uploads) -> Vec<String> {
    let is_other = |label: &&Label| match (own.get(label), shown.get(label)) {
        (Some(own), Some(shown)) => !own.is_like(shown),
        _ => true,
    };
    let told = |label: &Label| {
        format!("upload {label} is {:?}, not {:?}", shown.get(label), own.get(label))
    };
    let others = shown.keys().filter(|label| !own.contains_key(label));
    own.keys().chain(others).filter(is_other).map(told).collect()
}

/// What becomes of an upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Begin {
        path: String,
        bytes: Option<u64>,
    },
    /// The part of this number has come so far. The upload begins with it, if that is told and it is not
    /// there.
    Come {
        begun: Option<(String, u64)>,
        number: u32,
        part: Part,
    },
    /// A part of a file, which is this one if it is one that is there, becomes the part of this number.
    Share {
        number: u32,
        from: Option<(String, Digest)>,
        part: Part,
    },
    Remove {
        number: u32,
    },
    /// With these parts, which are this content.
    Complete {
        parts: BTreeMap<u32, Part>,
        whole: Part,
    },
    Drop,
}

/// Somebody makes it so at this time or later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UploadChange {
    pub(crate) label: Label,
    pub(crate) at_us: i64,
    pub(crate) how: How,
}

impl UploadChange {
    /// The user's tree and all uploads afterwards; `None` if it is refused.
    pub(crate) fn apply(
        &self,
        user: &'static str,
        tree: &Tree,
        uploads: &Uploads,
    ) -> Option<(Tree, Uploads)> {
        let (mut tree, mut uploads) = (tree.clone(), uploads.clone());
        let (label, touched_us) = (self.label, self.at_us);
        let begin = |path: &String, bytes| {
            let (path, parts) = (path.clone(), BTreeMap::new());
            Upload { user, path, bytes, parts, touched_us }
        };
        let own = match &self.how {
            How::Begin { path, bytes } => {
                uploads.entry(label).or_insert_with(|| begin(path, *bytes))
            }
            How::Come { begun: Some((path, bytes)), .. } => {
                uploads.entry(label).or_insert_with(|| begin(path, Some(*bytes)))
            }
            _ => uploads.get_mut(&label)?,
        };
        match &self.how {
            How::Begin { .. } => {}
            How::Come { number, part, .. } => {
                own.parts.insert(*number, *part);
                own.touched_us = touched_us;
            }
            How::Share { number, from, part } => {
                let is_there = |(path, of): &(String, Digest)| match tree.get(path) {
                    Some(Item::File { blake3, .. }) => blake3 == of,
                    _ => false,
                };
                from.as_ref().is_none_or(is_there).then_some(())?;
                own.parts.insert(*number, *part);
                own.touched_us = touched_us;
            }
            How::Remove { number } => {
                own.parts.remove(number);
            }
            How::Complete { parts, whole } => {
                let path = own.path.clone();
                if own.parts != *parts || !make_way(&mut tree, &path) {
                    return None;
                }
                let Part { blake3, bytes } = *whole;
                tree.insert(path, Item::File { blake3, bytes });
                uploads.remove(&label);
            }
            How::Drop => {
                uploads.remove(&label);
            }
        }
        Some((tree, uploads))
    }
}

/// The uploads that a catalog has, each with the contents of what has come.
pub(crate) fn uploads_of(catalog: &Catalog, contents: &Contents) -> Uploads {
    let mut all = Uploads::new();
    for user in USERS {
        let Ok(account) = catalog.account(&UserName::parse(user).unwrap()) else { continue };
        for own in catalog.uploads(account.id, None).unwrap() {
            let mut runs: BTreeMap<u32, Vec<Run>> = BTreeMap::new();
            for placed in &own.extents {
                let extent = placed.extent;
                let of = catalog.version_digest(extent.version).unwrap().unwrap();
                let number = u32::try_from(placed.position >> 32).unwrap();
                let run = (of, [extent.start, extent.start + extent.bytes]);
                runs.entry(number).or_default().push(run);
            }
            let join = |(number, runs): (u32, Vec<Run>)| (number, contents.join(&runs));
            let upload = Upload {
                user,
                path: own.path.as_str().to_owned(),
                bytes: own.bytes,
                parts: runs.into_iter().map(join).collect(),
                touched_us: own.touched.0,
            };
            all.insert(own.attributes.modified_ms.unwrap(), upload);
        }
    }
    all
}
