//! Node folders in which anything may lie, and files made from them: nothing is written into the
//! folders, and nothing is made anywhere but below the folder for what was rescued.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use palk::core::code::checksum;
use palk::core::node::rescue::{Folders, Rescuer, Selected, part_path};
use palk::core::path::{FilePath, UserName, printable};
use palk::core::types::{Block, ClusterId, Digest, Moment, NodeId, NodeSet, Seq, VersionId};
use palk::core::wire::journal::{Change, Entry, Point, Told};
use palk::core::wire::node::Place;
use palk::core::wire::snapshot::{
    FORMAT, Logged, SegmentHead, SnapshotHead, frame, frame_of, segment_name, snapshot_name,
};
use palk::core::wire::trailer::{Header, Trailer};

use super::bytes::Bytes;
use super::memory::MemoryDisk;
use super::trailer::sealed;

const ROOTS: [&str; 2] = ["/one", "/two"];
const OUT: &str = "/out";
const CLUSTER: ClusterId = ClusterId([1; 16]);
const FILES_MAX: usize = 16;

pub(crate) fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let disk = MemoryDisk::new(&ROOTS, &[OUT]);
    let nodes = input.u8();
    let nodes = [nodes % 4, nodes / 4 % 4].map(|at| NodeId::ALL[usize::from(at)]);
    for (root, node) in ROOTS.into_iter().zip(nodes) {
        let identity = format!("format = 3\nnode = {node}\n");
        disk.put(root, &[".palk", "node.toml"], identity.as_bytes());
    }
    for _ in 0..FILES_MAX {
        if input.is_empty() {
            break;
        }
        match input.u8() % 4 {
            0 => put_history(&disk, &mut input),
            _ => put_block(&disk, nodes, &mut input),
        }
    }
    let disk = Arc::new(disk);
    let Ok(folders) = Folders::open(disk.clone(), &ROOTS.map(PathBuf::from)) else { return };
    let survey = folders.survey(&Selected::default()).unwrap();
    let mut rescuer = Rescuer::new(disk.clone(), Path::new(OUT), folders.nodes(), &survey);
    for (user, folder) in &survey.folders {
        let _ = rescuer.folder(user, folder);
    }
    for file in &survey.files {
        let _ = rescuer.file(file, &mut |_| {});
    }
    let users: Vec<&str> = survey.users().into_iter().map(UserName::as_str).collect();
    for path in disk.paths() {
        let Ok(inside) = path.strip_prefix(OUT) else { continue };
        if path == part_path(Path::new(OUT)) {
            continue;
        }
        let text = inside.to_str().expect("names are text");
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(users.iter().any(|user| inside.starts_with(user)), "{text:?} is nobody's");
        assert!(!printable(text).contains('\u{1b}'));
    }
}

/// One block file: where it lies and what it says of itself need not agree.
fn put_block(disk: &MemoryDisk, nodes: [NodeId; 2], input: &mut Bytes<'_>) {
    let kind = input.u8();
    let which = usize::from(kind & 1);
    let block = nodes[which].blocks()[usize::from(kind >> 1 & 1)];
    let (user, path) = (input.text(), input.text());
    let version = VersionId([input.u8() % 4; 16]);
    let content = match kind >> 2 & 3 {
        0 => input.short().to_vec(),
        1 => sealed(input.short(), input.u8().into()),
        _ => whole_block(block, version, input),
    };
    let piece = format!("{version}_{block}");
    let folder = piece[..2].to_owned();
    let mut names: Vec<&str> = match kind >> 4 & 3 {
        0 => vec![".palk", "pieces", &folder, &piece],
        _ => path.split('/').collect(),
    };
    if names.first() != Some(&".palk") {
        names.insert(0, &user);
    }
    let named;
    if kind & 0x40 != 0
        && let Some(last) = names.pop()
    {
        named = palk::core::path::block_file_name(last, block);
        names.push(&named);
    }
    disk.put(ROOTS[which], &names, &content);
}

/// A snapshot or a segment of the journal: frames of anything, with a head that may fit.
fn put_history(disk: &MemoryDisk, input: &mut Bytes<'_>) {
    let kind = input.u8();
    let root = ROOTS[usize::from(kind & 1)];
    let at = Point { id: u64::from(kind >> 4), ..Point::start(CLUSTER) };
    let is_snapshot = kind & 2 != 0;
    let mut bytes = match is_snapshot {
        true => frame_of(&SnapshotHead { format: FORMAT, cluster: CLUSTER, at, chunks: 1 }),
        false => frame_of(&SegmentHead { format: FORMAT, cluster: CLUSTER, after: at }),
    }
    .unwrap_or_default();
    let mut point = at;
    for _ in 0..input.u8() % 4 {
        let content = input.short();
        let (user, path) = (UserName::parse("demo"), FilePath::parse_rooted(&input.text()));
        let change = match (user, path) {
            (Ok(user), Ok(path)) if kind & 4 != 0 => {
                let version = VersionId([kind >> 3 & 3; 16]);
                stored(Place { user, path }, version)
            }
            _ => match Change::decode(content) {
                Ok(change) => change,
                Err(_) if content.is_empty() => continue,
                Err(_) => {
                    bytes.extend(frame(content));
                    continue;
                }
            },
        };
        let framed = match is_snapshot {
            true => frame_of(&vec![Told { at: Moment(1), change }]),
            false => {
                let Ok(record) = change.encode() else { continue };
                let entry = Entry::after(point, 1, 0, record);
                point = entry.point();
                frame_of(&Logged { entry, piece: None })
            }
        };
        bytes.extend(framed.unwrap_or_default());
    }
    let name = if is_snapshot { snapshot_name(at) } else { segment_name(at) };
    disk.put(root, &["backup", &name], &bytes);
}

fn stored(place: Place, version: VersionId) -> Change {
    Change::Stored {
        place,
        version,
        seq: Seq(1),
        bytes: 0,
        blake3: Digest(*blake3::hash(b"").as_bytes()),
        stored_ms: 0,
        placed: NodeSet::ALL,
        inline: false,
        by: String::new(),
        attributes: Default::default(),
    }
}

/// A block of an empty file, whose padding is four bytes of 4, with a trailer that fits.
fn whole_block(block: Block, version: VersionId, input: &mut Bytes<'_>) -> Vec<u8> {
    let seq = Seq(u64::from_be_bytes([0, 0, 0, 0, 0, 0, 0, input.u8() % 8]));
    let (user, path) = (input.text(), input.text());
    let unit = match block {
        Block::O1 | Block::O2 | Block::O3 => [0],
        _ => [4],
    };
    let (Ok(user), Ok(path)) = (UserName::parse(&user), FilePath::parse_rooted(&path)) else {
        return unit.to_vec();
    };
    let header = Header {
        version,
        seq,
        user,
        path,
        file_bytes: 0,
        unit_bytes_max: 256 * 1024,
        block,
        blake3: Digest(*blake3::hash(b"").as_bytes()),
        stored_ms: 0,
        part: None,
    };
    let trailer = Trailer { header, checksums: vec![checksum::unit(&unit)] };
    [unit.as_slice(), &trailer.encode()].concat()
}
