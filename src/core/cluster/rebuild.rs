//! Rebuilding the piece that one node lacks, from the other three.
//!
//! Three units a stripe, one from each of them, are enough (two nodes would have to send four); with
//! only two nodes left it is done from those. The new piece goes through the same staging and commit
//! as every other.

use std::sync::Arc;

use crate::core::cluster::node::{PieceSource, Query};
use crate::core::cluster::reading::check_units;
use crate::core::cluster::roster::Roster;
use crate::core::code::checksum;
use crate::core::code::layout::Layout;
use crate::core::code::repair::{self, Select};
use crate::core::error::{Error, NodeFailure, Result, Troubles};
use crate::core::types::{Digest, NodeId, NodeSet, READ_QUORUM};
use crate::core::wire::node::{PieceMeta, Place};

/// The version of which a node lacks its piece.
pub struct Lacking {
    /// What the node is told of it.
    pub meta: PieceMeta,
    /// The digest of the whole file.
    pub blake3: Digest,
    /// The nodes that hold it.
    pub placed: NodeSet,
}

/// Stages the piece that `lost` lacks, and says how many bytes were read from other nodes for it.
///
/// # Errors
/// [`Error::TooFewToRead`] if too few of the nodes that hold it are up; a failure of a node in the
/// middle, after which it can be tried again.
pub(super) fn rebuild(roster: &Arc<Roster>, lost: NodeId, lacking: &Lacking) -> Result<u64> {
    let mut holders = roster.up().and(lacking.placed);
    holders.remove(lost);
    let layout = Layout::new(lacking.meta.file_bytes);
    let all: Vec<NodeId> = holders.iter().collect();
    let sources = match all.as_slice() {
        [_, _, _] => Sources::open_three(roster, lost, lacking, layout)?,
        [first, second] => Sources::open_two(roster, [*first, *second], lacking, layout)?,
        _ => {
            debug_assert!(all.len() < READ_QUORUM);
            let troubles: Troubles = roster.troubles(lacking.placed);
            return Err(Error::TooFewToRead {
                path: lacking.meta.place.path.to_string(),
                troubles,
            });
        }
    };
    copy(roster, lost, lacking, layout, sources)
}

/// Where the units come from.
enum Sources {
    Three(Vec<(NodeId, Box<dyn PieceSource>)>),
    Two([(NodeId, Box<dyn PieceSource>); 2]),
}

impl Sources {
    fn open_three(
        roster: &Roster,
        lost: NodeId,
        lacking: &Lacking,
        layout: Layout,
    ) -> Result<Sources> {
        let opened: Result<Vec<_>> = repair::plan(lost)
            .into_iter()
            .map(|(id, select)| Ok((id, open(roster, id, select, lacking, layout)?)))
            .collect();
        Ok(Sources::Three(opened?))
    }

    fn open_two(
        roster: &Roster,
        [first, second]: [NodeId; 2],
        lacking: &Lacking,
        layout: Layout,
    ) -> Result<Sources> {
        let open = |id| open(roster, id, Select::Both, lacking, layout);
        Ok(Sources::Two([(first, open(first)?), (second, open(second)?)]))
    }
}

fn open(
    roster: &Roster,
    id: NodeId,
    select: Select,
    lacking: &Lacking,
    layout: Layout,
) -> Result<Box<dyn PieceSource>> {
    let place: &Place = &lacking.meta.place;
    let query = Query {
        version: lacking.meta.version,
        place: place.clone(),
        first_stripe: 0,
        stripes: layout.stripe_count(),
        select,
    };
    roster.used(id, roster.node(id).read(&query))
}

fn copy(
    roster: &Roster,
    lost: NodeId,
    lacking: &Lacking,
    layout: Layout,
    mut sources: Sources,
) -> Result<u64> {
    let mut sink = roster.used(lost, roster.node(lost).stage(&lacking.meta))?;
    let mut bodies: [Vec<u8>; 3] = Default::default();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut moved = 0;
    for stripe in 0..layout.stripe_count() {
        let unit_bytes = layout.unit_bytes(stripe);
        first.resize(unit_bytes, 0);
        second.resize(unit_bytes, 0);
        let out = [first.as_mut_slice(), second.as_mut_slice()];
        match &mut sources {
            Sources::Three(three) => {
                for ((id, source), body) in three.iter_mut().zip(&mut bodies) {
                    moved += fetch(roster, *id, &mut **source, body, unit_bytes, 1)?;
                }
                let [a, b, c] = &bodies;
                repair::rebuild(lost, [a, b, c], out);
            }
            Sources::Two(two) => {
                for ((id, source), body) in two.iter_mut().zip(&mut bodies) {
                    moved += fetch(roster, *id, &mut **source, body, unit_bytes, 2)?;
                }
                let pair = [two[0].0, two[1].0];
                let units = [&bodies[0], &bodies[1]].map(|body| body.split_at(unit_bytes).into());
                repair::rebuild_from_pair(lost, pair, units, out);
            }
        }
        let units = [first.as_slice(), second.as_slice()];
        roster.used(lost, sink.units(units, units.map(checksum::unit)))?;
    }
    roster.used(lost, sink.ask_finish(lacking.blake3))?;
    roster.used(lost, sink.await_staged())?;
    Ok(moved)
}

/// One stripe's `count` units from a node, checked; and how many bytes they are.
fn fetch(
    roster: &Roster,
    id: NodeId,
    source: &mut dyn PieceSource,
    body: &mut Vec<u8>,
    unit_bytes: usize,
    count: usize,
) -> Result<u64> {
    let checksums = roster.used(id, source.units(body))?;
    check_units(id, body, unit_bytes, &checksums[..count])?;
    Ok(body.len() as u64)
}

/// Did a rebuilding fail because a node turned out not to hold what it should?
pub(super) fn unsound(error: &Error) -> Option<NodeId> {
    match error {
        Error::Node { node, why: NodeFailure::NotHeld(_) | NodeFailure::Damaged(_) } => Some(*node),
        _ => None,
    }
}
