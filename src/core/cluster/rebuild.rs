//! Rebuilding the piece that one node lacks, from the other three.
//!
//! Three units a stripe, one from each of them, are enough (two nodes would have to send four). Where
//! that cannot be had, the file is read as for a user, from any two, around whatever is damaged, and
//! coded again. The new piece goes through the same staging as every other.

use std::sync::Arc;

use crate::core::cluster::node::{PieceSink, PieceSource, Query};
use crate::core::cluster::reading::{Reading, Wanted, check_units, says_unsound};
use crate::core::cluster::roster::Roster;
use crate::core::code::layout::Layout;
use crate::core::code::repair;
use crate::core::code::{checksum, kernel};
use crate::core::error::{Error, Result};
use crate::core::io::random::Random;
use crate::core::types::{Digest, NodeId, NodeSet, Seq};
use crate::core::wire::node::PieceMeta;

/// The version of which a node lacks its piece.
pub struct Lacking {
    /// What the node is told of it.
    pub meta: PieceMeta,
    /// Its sequence number.
    pub seq: Seq,
    /// The digest of the whole file.
    pub blake3: Digest,
    /// The nodes that hold it.
    pub placed: NodeSet,
}

/// How a rebuilding went.
pub struct Rebuilt {
    /// How many bytes were read from other nodes, if the piece is staged now.
    pub outcome: Result<u64>,
    /// The nodes that turned out not to hold what they should, or to hold it damaged.
    pub unsound: NodeSet,
}

/// Stages the piece that `lost` lacks. `moved` hears after every stripe how many bytes were read for
/// it, and may take its time.
pub(super) fn rebuild(
    roster: &Arc<Roster>,
    random: &Arc<Random>,
    in_step: NodeSet,
    lost: NodeId,
    lacking: &Lacking,
    moved: &mut dyn FnMut(u64),
) -> Rebuilt {
    let mut unsound = NodeSet::EMPTY;
    // Nothing is read from the others that the node would then have no room for.
    if let Err(error) = roster.check_room(lost, &lacking.meta) {
        return Rebuilt { outcome: Err(error), unsound };
    }
    let mut holders = roster.up().and(lacking.placed);
    holders.remove(lost);
    if holders.len() == 3 {
        match from_three(roster, lost, lacking, moved) {
            Ok(bytes) => return Rebuilt { outcome: Ok(bytes), unsound },
            // The one that is to get the piece cannot take it, wherever it comes from.
            Err(error @ Error::Node { node, .. }) if node == lost => {
                return Rebuilt { outcome: Err(error), unsound };
            }
            Err(error) => {
                if let Error::Node { node, .. } = error
                    && says_unsound(&error, in_step)
                {
                    unsound.insert(node);
                }
                tracing::debug!("{}: not from three nodes: {error}", lacking.meta.place);
            }
        }
    }
    let outcome = from_any(roster, random, in_step, lost, lacking, &mut unsound, moved);
    Rebuilt { outcome, unsound }
}

fn from_three(
    roster: &Roster,
    lost: NodeId,
    lacking: &Lacking,
    moved: &mut dyn FnMut(u64),
) -> Result<u64> {
    let layout = Layout::new(lacking.meta.file_bytes);
    let mut sources: Vec<(NodeId, Box<dyn PieceSource>)> = Vec::new();
    for (id, select) in repair::plan(lost) {
        let query = Query {
            version: lacking.meta.version,
            first_stripe: 0,
            stripes: layout.stripe_count(),
            select,
        };
        sources.push((id, roster.used(id, roster.node(id).read(&query))?));
    }
    let mut piece = NewPiece::begin(roster, lost, lacking)?;
    let mut bodies: [Vec<u8>; 3] = Default::default();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut bytes_read = 0;
    for stripe in 0..layout.stripe_count() {
        let unit_bytes = layout.unit_bytes(stripe);
        for ((id, source), body) in sources.iter_mut().zip(&mut bodies) {
            let checksums = roster.used(*id, source.units(body))?;
            check_units(*id, body, unit_bytes, &checksums[..1])?;
        }
        let read = 3 * unit_bytes as u64;
        bytes_read += read;
        moved(read);
        first.resize(unit_bytes, 0);
        second.resize(unit_bytes, 0);
        let [a, b, c] = &bodies;
        repair::rebuild(lost, [a, b, c], [&mut first, &mut second]);
        piece.units([&first, &second])?;
    }
    piece.finish(lacking)?;
    Ok(bytes_read)
}

fn from_any(
    roster: &Arc<Roster>,
    random: &Arc<Random>,
    in_step: NodeSet,
    lost: NodeId,
    lacking: &Lacking,
    unsound: &mut NodeSet,
    moved: &mut dyn FnMut(u64),
) -> Result<u64> {
    let meta = &lacking.meta;
    let wanted = Wanted::whole(meta.version, &meta.place, meta.file_bytes, lacking.placed);
    let begun = Reading::begin(roster.clone(), random.clone(), wanted, in_step);
    let mut reading = begun.map_err(|(error, nodes)| {
        *unsound = unsound.or(nodes);
        error
    })?;
    let copied = code_again(roster, lost, lacking, &mut reading, moved);
    *unsound = unsound.or(reading.unsound());
    copied.map(|()| reading.bytes_read())
}

fn code_again(
    roster: &Roster,
    lost: NodeId,
    lacking: &Lacking,
    reading: &mut Reading,
    moved: &mut dyn FnMut(u64),
) -> Result<()> {
    let layout = Layout::new(lacking.meta.file_bytes);
    let mut piece = NewPiece::begin(roster, lost, lacking)?;
    let (mut data, mut parity) = (Vec::new(), Vec::new());
    for stripe in 0..layout.stripe_count() {
        let stripe_bytes = layout.stripe_bytes(stripe);
        data.resize(stripe_bytes, 0);
        parity.resize(stripe_bytes, 0);
        if layout.file_bytes_in(stripe) > 0 {
            let [head, tail] = reading.next_part()?.unwrap_or_default();
            data[..head.len()].copy_from_slice(head);
            data[head.len()..head.len() + tail.len()].copy_from_slice(tail);
        }
        layout.pad(stripe, &mut data);
        kernel::encode(&data, &mut parity);
        piece.units(kernel::node_units(lost, &data, &parity))?;
        moved(stripe_bytes as u64);
    }
    piece.finish(lacking)
}

/// The piece on its way to the node that lacks it.
struct NewPiece<'a> {
    roster: &'a Roster,
    lost: NodeId,
    sink: Box<dyn PieceSink>,
}

impl<'a> NewPiece<'a> {
    fn begin(roster: &'a Roster, lost: NodeId, lacking: &Lacking) -> Result<NewPiece<'a>> {
        let sink = roster.used(lost, roster.node(lost).stage(&lacking.meta))?;
        Ok(NewPiece { roster, lost, sink })
    }

    fn units(&mut self, units: [&[u8]; 2]) -> Result<()> {
        self.roster.used(self.lost, self.sink.units(units, units.map(checksum::unit)))
    }

    fn finish(mut self, lacking: &Lacking) -> Result<()> {
        self.roster.used(self.lost, self.sink.ask_finish(lacking.seq, lacking.blake3))?;
        self.roster.used(self.lost, self.sink.await_staged())
    }
}
