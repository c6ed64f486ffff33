//! Which nodes hold the bytes that were stored, found by reading all of them.
//!
//! ```text
//!   every stripe from every node ── they agree ──> one digest for all
//!                                └─ they do not ─> from here on one digest for each pair of nodes
//! ```
//!
//! Any two nodes' units give one stripe and no other node's units that do not belong to it, so a pair
//! whose file has the digest in the catalog is right, both of it; and a node in no such pair is wrong.
//! No checksum is believed but that the bytes came over the link as the node read them.

use blake3::Hasher;

use crate::core::catalog::Surveyed;
use crate::core::cluster::check::Checked;
use crate::core::cluster::node::{PieceSource, Query};
use crate::core::cluster::reading::check_units;
use crate::core::cluster::roster::Roster;
use crate::core::code::kernel;
use crate::core::code::layout::Layout;
use crate::core::code::repair::Select;
use crate::core::code::witness::{Verdict, witness};
use crate::core::error::Result;
use crate::core::types::{Digest, NODE_COUNT, NodeId, NodeSet, READ_QUORUM};
use crate::core::wire::node::Place;

/// Stripes that are read in one step.
const STEP_STRIPES: u64 = 4;

/// A file that is being read from all nodes that may hold it.
pub(super) struct Audit {
    place: Place,
    layout: Layout,
    blake3: Digest,
    in_step: NodeSet,
    sources: Vec<Source>,
    stripe: u64,
    digests: Digests,
    /// The nodes that a comparison of four has named.
    named: NodeSet,
}

struct Source {
    id: NodeId,
    units: Box<dyn PieceSource>,
    body: Vec<u8>,
}

/// What has been read so far, digested.
enum Digests {
    /// All nodes have agreed.
    One(Box<Contents>),
    /// They have not.
    Pairs(Vec<([NodeId; 2], Contents)>),
}

/// The file as some nodes have it.
#[derive(Clone)]
struct Contents {
    hasher: Hasher,
    /// Is the padding what it must be?
    padded: bool,
}

impl Audit {
    /// Begins to read from these nodes; those that cannot be read are noted in `checked`.
    pub(super) fn begin(
        roster: &Roster,
        (file, layout): (&Surveyed, Layout),
        nodes: NodeSet,
        in_step: NodeSet,
        checked: &mut Checked,
    ) -> Audit {
        let mut sources = Vec::new();
        for id in nodes.iter() {
            let query = Query {
                version: file.record.version,
                first_stripe: 0,
                stripes: layout.stripe_count(),
                select: Select::Both,
            };
            match roster.used(id, roster.node(id).read(&query)) {
                Ok(units) => sources.push(Source { id, units, body: Vec::new() }),
                Err(error) => checked.failed(id, &error, in_step),
            }
        }
        let digests = Digests::One(Box::new(Contents { hasher: Hasher::new(), padded: true }));
        Audit {
            place: file.place.clone(),
            layout,
            blake3: file.record.blake3,
            in_step,
            sources,
            stripe: 0,
            digests,
            named: NodeSet::EMPTY,
        }
    }

    /// Reads some stripes; gives how many bytes, and whether it has come to an end.
    pub(super) fn step(&mut self, roster: &Roster, checked: &mut Checked) -> (u64, bool) {
        let mut bytes = 0;
        let end = self.layout.stripe_count().min(self.stripe + STEP_STRIPES);
        while self.stripe < end {
            self.fetch(roster, checked);
            if self.sources.len() < READ_QUORUM {
                // Who is left cannot be compared with anybody.
                return (bytes, true);
            }
            bytes += self.sources.iter().map(|source| source.body.len() as u64).sum::<u64>();
            self.digest();
            self.stripe += 1;
        }
        let ended = self.stripe == self.layout.stripe_count();
        if ended {
            self.conclude(checked);
        }
        (bytes, ended)
    }

    fn fetch(&mut self, roster: &Roster, checked: &mut Checked) {
        let unit_bytes = self.layout.unit_bytes(self.stripe);
        let in_step = self.in_step;
        self.sources.retain_mut(|source| {
            let fetched = source.fetch(unit_bytes);
            roster
                .used(source.id, fetched)
                .map_err(|error| checked.failed(source.id, &error, in_step))
                .is_ok()
        });
        if let Digests::Pairs(pairs) = &mut self.digests {
            let left: NodeSet = self.sources.iter().map(|source| source.id).collect();
            pairs.retain(|(pair, _)| pair.iter().all(|id| left.contains(*id)));
        }
    }

    fn digest(&mut self) {
        if matches!(self.digests, Digests::One(_)) && !self.do_agree() {
            self.part_ways();
        }
        let mut data = vec![0; self.layout.stripe_bytes(self.stripe)];
        let (layout, stripe, sources) = (self.layout, self.stripe, &self.sources);
        match &mut self.digests {
            Digests::One(contents) => {
                contents.add(layout, stripe, [&sources[0], &sources[1]], &mut data);
            }
            Digests::Pairs(pairs) => {
                for (pair, contents) in pairs {
                    let of = |id: NodeId| sources.iter().find(|source| source.id == id);
                    if let (Some(one), Some(other)) = (of(pair[0]), of(pair[1])) {
                        contents.add(layout, stripe, [one, other], &mut data);
                    }
                }
            }
        }
    }

    /// Do all have units of one stripe?
    fn do_agree(&mut self) -> bool {
        if let Ok(all) = <&[Source; NODE_COUNT]>::try_from(self.sources.as_slice()) {
            return match witness(std::array::from_fn(|at| all[at].both())) {
                Verdict::AllAgree => true,
                Verdict::Wrong(id) => {
                    self.named.insert(id);
                    false
                }
                Verdict::Unclear => false,
            };
        }
        let mut data = vec![0; self.layout.stripe_bytes(self.stripe)];
        let mut parity = vec![0; data.len()];
        let pair = [&self.sources[0], &self.sources[1]];
        kernel::decode(pair.map(|source| source.id), pair.map(Source::both), &mut data);
        kernel::encode(&data, &mut parity);
        self.sources
            .iter()
            .all(|source| source.both() == kernel::node_units(source.id, &data, &parity))
    }

    /// From here on every pair has a digest of its own; they all begin with what all agreed on.
    fn part_ways(&mut self) {
        let Digests::One(contents) = &self.digests else { return };
        let ids: Vec<NodeId> = self.sources.iter().map(|source| source.id).collect();
        let pairs = ids.iter().enumerate().flat_map(|(at, one)| {
            ids[at + 1..].iter().map(|other| ([*one, *other], Contents::clone(contents)))
        });
        self.digests = Digests::Pairs(pairs.collect());
    }

    fn conclude(&self, checked: &mut Checked) {
        let is_right =
            |contents: &Contents| contents.padded && contents.hasher.finalize() == self.blake3.0;
        let read: NodeSet = self.sources.iter().map(|source| source.id).collect();
        let right: NodeSet = match &self.digests {
            Digests::One(contents) if is_right(contents) => read,
            Digests::One(_) => NodeSet::EMPTY,
            Digests::Pairs(pairs) => {
                pairs.iter().filter(|(_, it)| is_right(it)).flat_map(|(pair, _)| *pair).collect()
            }
        };
        if right.is_empty() {
            tracing::error!("{}: no two nodes hold the bytes that were stored", self.place);
            checked.damaged = true;
            return;
        }
        for id in read.and(right.complement()).iter() {
            let named = if self.named.contains(id) { ", and the others agree" } else { "" };
            tracing::warn!(
                "{}: the bytes of data server {id} are not those that were stored, although its \
                 checksums fit them{named}",
                self.place
            );
            checked.wrong(id);
        }
    }
}

impl Source {
    fn fetch(&mut self, unit_bytes: usize) -> Result<()> {
        let checksums = self.units.units(&mut self.body)?;
        check_units(self.id, &self.body, unit_bytes, &checksums)
    }

    fn both(&self) -> [&[u8]; 2] {
        self.body.split_at(self.body.len() / 2).into()
    }
}

impl Contents {
    fn add(&mut self, layout: Layout, stripe: u64, pair: [&Source; 2], data: &mut [u8]) {
        kernel::decode(pair.map(|source| source.id), pair.map(Source::both), data);
        let (own, padding) = data.split_at_mut(layout.file_bytes_in(stripe));
        self.hasher.update(own);
        let found = padding.to_vec();
        layout.pad(stripe, data);
        self.padded &= data.ends_with(&found);
    }
}
