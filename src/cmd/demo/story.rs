//! What the demo does and tells: a file is stored, two nodes are lost, the file is read from the
//! other two, the nodes come back and get what they missed.
//!
//! Every line states what was found to be so: the digests are taken from the files on the disk, the
//! blocks are looked up in the nodes' folders, and each step waits for its fact.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::blocks;
use super::cluster::Cluster;
use super::picture;
use super::resources::Who;
use crate::cmd::client::local::Source;
use crate::cmd::client::place::{Existing, Place};
use crate::cmd::client::transfer::{fetch, send};
use crate::cmd::env::{Env, duration};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::io::reason;
use crate::core::path::{FilePath, FolderPath, UserName, printable};
use crate::core::remote::{Remote, Selection};
use crate::core::types::{Digest, NodeId, NodeSet, Precondition};
use crate::core::wire::extended::Entry;

/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a step of the tour stays on a terminal before the next one begins.
const READING_TIME: Duration = Duration::from_millis(1500);

/// The demo under way.
pub(super) struct Story<'a> {
    pub(super) env: &'a mut Env,
    pub(super) cluster: &'a mut Cluster,
    pub(super) remote: &'a mut Remote,
    pub(super) user: &'a UserName,
    pub(super) tour: bool,
}

/// A file to be stored.
pub(super) struct Original {
    pub(super) local: PathBuf,
    pub(super) path: FilePath,
}

impl Original {
    /// The one that the user names.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it cannot be read, [`Code::Usage`] if its name cannot be stored.
    pub(super) fn given(file: &Path, env: &Env) -> Result<Original, Failure> {
        let cannot = format!("cannot store {}", file.display());
        let hint = "Name another one with --file, or none: the demo makes one then.";
        let failed = |error: &Error| Failure::of(&cannot, error).hint(hint);
        let metadata = Source::check(file, env).map_err(|error| failed(&error))?;
        if !metadata.is_file() {
            let text = format!("{cannot}: it is no regular file");
            return Err(Failure::new(Code::LocalFile, text).hint(hint));
        }
        let local = env.at(file);
        File::open(&local).map_err(|error| {
            let text = format!("{cannot}: {}", reason(&error));
            Failure::new(Code::LocalFile, text).hint(hint)
        })?;
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let path = FolderPath::top().join(name).map_err(|error| failed(&error.into()))?;
        Ok(Original { local, path })
    }

    /// One that the demo makes.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it cannot be written.
    pub(super) fn made(folder: &Path) -> Result<Original, Stop> {
        let local = folder.join("picture.bmp");
        let made = File::create(&local).and_then(|file| {
            let mut sink = BufWriter::new(file);
            picture::write(rand::random(), &mut sink)?;
            sink.into_inner().map(drop).map_err(|error| error.into_error())
        });
        made.map_err(|error| cannot_write(&local, &error))?;
        Ok(Original { local, path: FolderPath::top().join("picture.bmp").map_err(Error::from)? })
    }
}

impl Story<'_> {
    /// Tells it from the first file to the last.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub(super) fn tell(&mut self, original: &Original) -> Result<(), Stop> {
        self.chapter("1. Store a file")?;
        self.explain(
            "Four blocks are the file itself, four are parity: any two nodes know all of it.",
        )?;
        let bytes = self.store(original)?;
        self.wait_until("its blocks are on all nodes", |story| {
            Ok(NodeId::ALL.iter().all(|id| story.has_both(&original.path, *id)))
        })?;
        let table = blocks::table(self.cluster, self.user, &original.path, bytes);
        self.say(&format!("\n{table}"))?;

        let [first, second] = two_nodes();
        let lost: NodeSet = [first, second].into_iter().collect();
        self.chapter(&format!("2. Lose two nodes: killing {lost}"))?;
        self.explain(
            "They end at once, as by a power cut, and half of all blocks are out of reach.",
        )?;
        self.cluster.kill(first);
        self.cluster.kill(second);
        self.read_back(original)?;

        self.chapter("3. Give them back")?;
        self.explain("What a node missed is rebuilt from the others as soon as it is back.")?;
        self.give_back(first, second)?;
        if self.tour {
            self.flip_a_bit(original)?;
            self.undo_a_deletion(original)?;
        }
        Ok(())
    }

    fn store(&mut self, original: &Original) -> Result<u64, Stop> {
        let (bytes, summary) = store(original, self.remote, self.env)?;
        self.say(&summary)?;
        Ok(bytes)
    }

    pub(super) fn read_back(&mut self, original: &Original) -> Result<(), Stop> {
        let path = &original.path;
        let back = self.cluster.folder().join("read_back").join(path.name());
        let failed = |error| Failure::of(&format!("cannot read {path} back"), &error);
        let interrupts = self.env.interrupts();
        let place = Place::create(&back, true, Existing::Replaced, interrupts).map_err(failed)?;
        let fetched =
            fetch(self.env, self.remote, path, &Selection::default(), place).map_err(failed)?;
        self.say(&fetched.summary())?;
        let (before, after) = (digest(&original.local)?, digest(&back)?);
        self.say("  BLAKE3 of the original and of what came back:")?;
        self.say(&format!("    {before}\n    {after}"))?;
        if before != after {
            let text = format!("{path} is not what was stored");
            return Err(Failure::new(Code::Damaged, text).into());
        }
        self.say("  the same, bit for bit")
    }

    /// One node misses a file while the other is back already.
    fn give_back(&mut self, first: NodeId, second: NodeId) -> Result<(), Stop> {
        self.cluster.start_again(second)?;
        let text = format!("Node {second} is up again. Node {first} misses another file:");
        self.say(&text)?;
        let local = self.cluster.folder().join("note.txt");
        let text = format!("This was stored while node {first} was away.\n");
        fs::write(&local, text).map_err(|error| cannot_write(&local, &error))?;
        let path = FolderPath::top().join("note.txt").map_err(Error::from)?;
        let note = Original { local, path };
        self.store(&note)?;
        self.cluster.start_again(first)?;
        let begun = Instant::now();
        self.say(&format!("Node {first} is up again"))?;
        self.wait_until("all nodes have all files", |story| {
            Ok(story.has_both(&note.path, first) && story.nothing_is_lacking()?)
        })?;
        let took = duration(begun.elapsed());
        let names: Vec<String> = blocks::places(self.cluster, self.user, &note.path)
            .iter()
            .filter(|(block, _)| block.node() == first)
            .filter_map(|(_, place)| Some(place.file_name()?.to_string_lossy().into_owned()))
            .collect();
        let names = names.join(" and ");
        self.say(&format!("  healed after {took}: {names} rebuilt from the other nodes"))?;
        self.say("  every file is on all four nodes")
    }

    fn has_both(&self, path: &FilePath, node: NodeId) -> bool {
        blocks::has_both(self.cluster, self.user, path, node)
    }

    /// Does the server know every file to be on all nodes?
    fn nothing_is_lacking(&mut self) -> Result<bool, Stop> {
        let mut whole = true;
        self.remote.list(&mut |entry| {
            if let Entry::File(file) = entry {
                whole &= file.placed == NodeSet::ALL;
            }
            Ok(())
        })?;
        Ok(whole)
    }

    pub(super) fn wait_until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&mut Self) -> Result<bool, Stop>,
    ) -> Result<(), Stop> {
        let begun = Instant::now();
        while !is_so(self)? {
            if begun.elapsed() > PATIENCE {
                let text = format!("after {} s it is not so that {what}", PATIENCE.as_secs());
                return Err(Failure::new(Code::Unexpected, text).into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Begins a step: on a tour, when what was said before can have been read.
    pub(super) fn chapter(&mut self, title: &str) -> Result<(), Stop> {
        if self.tour && self.env.is_attended() {
            thread::sleep(READING_TIME);
        }
        self.say(&format!("\n{title}"))
    }

    pub(super) fn explain(&mut self, text: &str) -> Result<(), Stop> {
        if self.tour { self.say(text) } else { Ok(()) }
    }

    pub(super) fn say(&mut self, line: &str) -> Result<(), Stop> {
        self.env.data(line)?;
        self.env.flush()
    }
}

/// Stores a file; gives its size and what to say of it.
///
/// # Errors
/// Those of reading and storing it.
pub(super) fn store(
    original: &Original,
    remote: &mut Remote,
    env: &mut Env,
) -> Result<(u64, String), Stop> {
    let failed = |error| Failure::of(&format!("cannot store {}", original.path), &error);
    let mut source = Source::open(&original.local, env).map_err(failed)?;
    let bytes = source.bytes;
    let sent = send(env, remote, &mut source, &original.path, Precondition::Any).map_err(failed)?;
    Ok((bytes, sent.summary()))
}

/// The processes and the folder, as a table.
pub(super) fn roll_call(cluster: &Cluster) -> String {
    let mut lines = Vec::new();
    for id in NodeId::ALL {
        let (address, pid) = (cluster.address(id), cluster.pid(Who::Node(id)));
        lines.push(format!("  node {id}   {address:21}  process {pid}"));
    }
    let (address, pid) = (cluster.server(), cluster.pid(Who::Server));
    lines.push(format!("  server   {address:21}  process {pid}"));
    lines.push(format!("  folder   {}", printable(&cluster.folder().to_string_lossy())));
    lines.join("\n")
}

/// Two different nodes, picked at random, the lower number first.
fn two_nodes() -> [NodeId; 2] {
    let mut nodes = NodeId::ALL;
    rand::seq::SliceRandom::shuffle(&mut nodes[..], &mut rand::rng());
    let mut two = [nodes[0], nodes[1]];
    two.sort_by_key(|id| id.number());
    two
}

pub(super) fn digest(path: &Path) -> Result<Digest, Stop> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(drop));
    read.map_err(|error| {
        let text = format!("cannot read {}: {}", path.display(), reason(&error));
        Failure::new(Code::LocalFile, text)
    })?;
    Ok(Digest(hasher.finalize().into()))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Stop {
    let text = format!("cannot write {}: {}", path.display(), reason(error));
    Failure::new(Code::LocalFile, text).into()
}
