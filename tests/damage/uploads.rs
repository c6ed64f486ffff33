//! Uploads: parts in any order, copies that share extents, and what is left when they are gone.

use std::fs;

use palk::core::error::{Code, Result};
use palk::core::serve::store::{Store, Wanted};
use palk::core::types::{Digest, NodeId, NodeSet, Precondition, VersionId};
use palk::core::wire::extended::{When, Which};

use crate::House;
use crate::house::file;

const MIB: usize = 1 << 20;

fn noise(seed: u8, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
    out
}

fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

/// Puts some bytes into a store.
fn fill(store: &mut Store<'_>, mut content: &[u8]) {
    while !content.is_empty() {
        let room = store.room().unwrap();
        let (now, later) = content.split_at(room.len());
        room.copy_from_slice(now);
        store.push().unwrap();
        content = later;
    }
}

impl House {
    fn begin(&self, path: &str, bytes: Option<u64>) -> VersionId {
        let (any, attributes) = (Precondition::Any, Default::default());
        self.files.begin_upload(&self.user, &file(path), bytes, any, attributes).unwrap()
    }

    fn send(&self, id: VersionId, offset: usize, content: &[u8]) -> Result<()> {
        let bytes = content.len() as u64;
        let mut store = self.files.send(&self.user, id, offset as u64, bytes)?;
        fill(&mut store, content);
        store.finish_part()
    }

    fn part(&self, id: VersionId, number: u32, content: &[u8]) -> Result<()> {
        let bytes = content.len() as u64;
        let mut store = self.files.store_numbered(&self.user, id, number, bytes)?;
        fill(&mut store, content);
        store.finish_part()
    }

    fn complete(&self, id: VersionId, blake3: Option<Digest>) -> Result<VersionId> {
        let any = Precondition::Any;
        self.files.complete_upload(&self.user, id, blake3, any).map(|(stored, _)| stored.version)
    }

    fn put(&self, path: &str, content: &[u8]) {
        let (bytes, any) = (content.len() as u64, Precondition::Any);
        let mut store = self.files.store(&self.user, &file(path), bytes, any).unwrap();
        fill(&mut store, content);
        store.finish(digest(content)).unwrap();
    }

    /// How many block files there are on all nodes.
    fn block_files(&self) -> usize {
        let in_folder = |path: std::path::PathBuf| {
            let folders = fs::read_dir(path).unwrap().flatten();
            folders.map(|folder| fs::read_dir(folder.path()).unwrap().count()).sum::<usize>()
        };
        NodeId::ALL.into_iter().map(|id| in_folder(self.root(id).join(".palk/pieces"))).sum()
    }
}

#[test]
fn parts_come_in_any_order_and_share_what_is_stored() {
    let mut house = House::new(|_| {});
    let before = house.block_files();
    let source = noise(9, 2 * MIB + 77);
    house.put("source", &source);
    let id = house.begin("whole", None);
    let [first, third] = [noise(1, MIB + 5), noise(3, 3 * MIB)];
    house.part(id, 3, &third).unwrap();
    house.part(id, 1, &noise(7, 9)).unwrap();
    house.part(id, 1, &first).unwrap();
    let range = Some("5-2097160".parse().unwrap());
    let from = (&file("source"), &Which::Current);
    house.files.copy_part(&house.user, id, 2, from, range).unwrap();
    house.part(id, 4, b"dropped").unwrap();
    house.files.remove_part(&house.user, id, 4).unwrap();
    let content = [&first[..], &source[5..=2_097_160], &third].concat();
    let arrived = house.files.upload(&house.user, id).unwrap().arrived;
    assert_eq!(arrived, content.len() as u64);
    let wrong = house.complete(id, Some(Digest([1; 32]))).unwrap_err();
    assert_eq!(wrong.code(), Code::Damaged);
    house.complete(id, Some(digest(&content))).unwrap();
    assert_eq!(house.read("whole").unwrap(), content);
    assert!(house.files.uploads(&house.user, None).unwrap().is_empty());

    // What it shares stays when the other file goes.
    house.files.delete(&house.user, &file("source")).unwrap();
    house.attend();
    assert!(house.read("whole").unwrap() == content);
    let found = house.scrub();
    assert_eq!((found.found.damaged, found.found.missing), (0, 0), "{found:?}");
    for pair in (0..16).map(NodeSet::from_bits).filter(|pair| pair.len() == 2) {
        house.switch(pair);
        assert!(house.read("whole").unwrap() == content, "{pair}");
        house.switch(NodeSet::ALL);
        let (catalog, _) = house.recover(pair).unwrap();
        assert_eq!(House::listed(&catalog)["whole"], (arrived, digest(&content)));
        fs::remove_file(house.folder.path().join("recovered.db")).unwrap();
    }
    // And nothing of either is left when both are gone.
    house.files.delete(&house.user, &file("whole")).unwrap();
    house.attend();
    house.attend();
    assert_eq!(house.block_files(), before);
}

#[test]
fn an_upload_goes_on_where_it_is_and_nowhere_else() {
    let mut house = House::new(|_| {});
    let before = house.block_files();
    let content = noise(1, 3 * MIB + 9);
    let id = house.begin("a", Some(content.len() as u64));
    house.send(id, 0, &content[..MIB]).unwrap();
    for offset in [0, 5, 2 * MIB] {
        let refused = house.send(id, offset, &content[offset..]).unwrap_err();
        assert_eq!(refused.code(), Code::Changed, "at {offset}");
    }
    let too_much = house.send(id, MIB, &noise(2, 3 * MIB)).unwrap_err();
    assert_eq!(too_much.code(), Code::Usage);
    // One that breaks off keeps its full stripes.
    let rest = content.len() as u64 - (1 << 20);
    let mut store = house.files.send(&house.user, id, 1 << 20, rest).unwrap();
    let busy = house.files.send(&house.user, id, 1 << 20, rest).err().unwrap();
    assert_eq!(busy.code(), Code::Temporary);
    assert_eq!(house.complete(id, None).unwrap_err().code(), Code::Changed);
    fill(&mut store, &content[MIB..2 * MIB]);
    store.room().unwrap()[0] = 1;
    assert_eq!(store.keep().unwrap(), 2 << 20);
    let upload = house.files.upload(&house.user, id).unwrap();
    assert_eq!((upload.arrived, upload.blake3), (2 << 20, Some(digest(&content[..2 * MIB]))));
    assert_eq!(house.complete(id, None).unwrap_err().code(), Code::Usage, "it is not whole");
    house.send(id, 2 * MIB, &content[2 * MIB..]).unwrap();
    house.complete(id, Some(digest(&content))).unwrap();
    assert!(house.read("a").unwrap() == content);
    assert_eq!(house.complete(id, None).unwrap_err().code(), Code::NoSuchFile);
    house.files.delete(&house.user, &file("a")).unwrap();

    // A kept store that breaks off is one as well, and its id is taken then.
    let id = VersionId([0x77; 16]);
    let kept = || {
        let keep = Some(id);
        let (path, bytes) = (&file("mine"), content.len() as u64);
        let (precondition, attributes) = (Precondition::Any, Default::default());
        let wanted = Wanted { path, bytes, precondition, attributes, keep };
        house.files.store_wanted(&house.user, &wanted)
    };
    let mut store = kept().unwrap();
    fill(&mut store, &content[..2 * MIB]);
    assert_eq!(store.keep().unwrap(), 2 << 20);
    assert_eq!(kept().err().unwrap().code(), Code::NotAllowed);
    house.send(id, 2 * MIB, &content[2 * MIB..]).unwrap();
    house.complete(id, Some(digest(&content))).unwrap();
    assert!(house.read("mine").unwrap() == content);
    house.files.delete(&house.user, &file("mine")).unwrap();

    // What is dropped leaves nothing.
    let id = house.begin("b", None);
    house.send(id, 0, &content[..MIB]).unwrap();
    house.attend();
    assert!(house.block_files() > before);
    house.files.drop_upload(&house.user, id).unwrap();
    house.attend();
    house.attend();
    assert_eq!(house.block_files(), before);
}

#[test]
fn a_part_is_sent_by_one_at_a_time_and_its_upload_stays_meanwhile() {
    let house = House::new(|_| {});
    let id = house.begin("a", None);
    let mut store = house.files.store_numbered(&house.user, id, 2, 9).unwrap();
    let busy = |done: Result<()>| done.unwrap_err().code();
    assert_eq!(busy(house.part(id, 2, b"other")), Code::Temporary);
    assert_eq!(busy(house.files.remove_part(&house.user, id, 2)), Code::Temporary);
    assert_eq!(house.complete(id, None).unwrap_err().code(), Code::Changed);
    assert!(house.cluster.uploading.is_sent(id), "it is not dropped for its age");
    house.part(id, 1, b"side by side, ").unwrap();
    fill(&mut store, b"two parts");
    store.finish_part().unwrap();
    house.complete(id, Some(digest(b"side by side, two parts"))).unwrap();
}

#[test]
fn an_upload_that_nobody_goes_on_with_is_dropped_after_a_day() {
    let house = House::new(|_| {});
    let id = house.begin("a", None);
    house.send(id, 0, b"something").unwrap();
    house.cluster.let_go().unwrap();
    assert_eq!(house.files.uploads(&house.user, None).unwrap().len(), 1);
    let now = house.cluster.catalog.now_us();
    let idle = house.cluster.catalog.idle_uploads(palk::core::types::Moment(now)).unwrap();
    assert_eq!(idle, [id]);
    let change = move |draft: &mut palk::core::catalog::Draft<'_>| {
        draft.drop_idle_uploads(&idle, palk::core::types::Moment(now))
    };
    assert_eq!(house.cluster.committer.submit(change).unwrap(), 1);
    assert!(house.files.uploads(&house.user, None).unwrap().is_empty());
}

#[test]
fn an_upload_of_one_extent_is_a_file_like_any_other() {
    let mut house = House::new(|_| {});
    let content = noise(1, 2 * MIB);
    let id = house.begin("x/a.txt", Some(content.len() as u64));
    house.send(id, 0, &content).unwrap();
    house.complete(id, Some(digest(&content))).unwrap();
    house.attend();
    let names = ["x/a_A1.txt", "x/a_A2.txt"];
    let node = house.root(NodeId::ALL[0]).join("demo");
    assert!(names.iter().all(|name| node.join(name).exists()), "it is in the view");
    let (outcomes, _) = house.rescue(NodeSet::from_bits(0b0110));
    assert!(format!("{:?}", outcomes["x/a.txt"]).starts_with("Rescued"));
    let at = When::At(palk::core::types::Moment(house.cluster.catalog.now_us()));
    let then = house.files.retrieve_which(&house.user, &file("x/a.txt"), &Which::At(at), None);
    assert_eq!(then.unwrap().blake3, digest(&content));
}
