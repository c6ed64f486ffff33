//! The digest of a file of which the bytes come in parts: BLAKE3's tree, as far as it is known.
//!
//! ```text
//!   the file     | 1 MiB | 1 MiB | 1 MiB | 1 MiB | 1 MiB | rest |
//!   an extent    '------ subtree of 4 -----------'
//!   another                                      '- 1 -' '- 1 -'
//!   the digest   merges them all
//! ```
//!
//! BLAKE3 hashes a file as a binary tree whose left halves are powers of two of 1 KiB. So a subtree of
//! some MiB that begins at a multiple of its own size has a value of its own (`blake3::hazmat`), and the
//! values of the extents make the digest of the whole without reading a byte again.
//!
//! The last two subtrees are never merged before more comes: what merges last is the root, which is
//! computed in another way.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};

use crate::core::code::layout::STRIPE_BYTES_MAX;
use crate::core::types::Digest;

/// The bytes of the smallest subtree whose value is kept.
const LEAF_BYTES: u64 = STRIPE_BYTES_MAX as u64;

/// More subtrees than any run of bytes below 2^64 leaves unmerged.
pub const SUBTREES_MAX: usize = 128;

/// The value of a part of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subtree {
    /// It covers 2 to this power MiB; 0 also for the end of a file, which may be shorter.
    pub level: u8,
    /// BLAKE3's chaining value.
    pub value: [u8; 32],
}

/// What is kept of the tree of a run of a file's bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct TreePart {
    /// The byte of the file at which the run begins.
    pub at: u64,
    /// Its subtrees, from left to right; none if nothing is known.
    pub subtrees: Vec<Subtree>,
}

/// The tree of a run of a file's bytes, which begins at a multiple of 1 MiB.
#[derive(Clone)]
pub struct DigestTree {
    /// Where the run begins, in MiB.
    first: u64,
    /// How many leaves there are.
    leaves: u64,
    subtrees: Vec<Subtree>,
    /// The first leaf's own hasher: if it is the only one, it is the root.
    only: Option<Hasher>,
}

impl DigestTree {
    /// That of a run that begins at this byte; `None` if that is no multiple of 1 MiB.
    pub fn at(offset: u64) -> Option<DigestTree> {
        let first = offset / LEAF_BYTES;
        let tree = DigestTree { first, leaves: 0, subtrees: Vec::new(), only: None };
        offset.is_multiple_of(LEAF_BYTES).then_some(tree)
    }

    /// Takes the next bytes: 1 MiB, or what is left at the end. None are passed over.
    pub fn push(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= STRIPE_BYTES_MAX);
        if bytes.is_empty() {
            return;
        }
        let mut hasher = Hasher::new();
        hasher.set_input_offset((self.first + self.leaves) * LEAF_BYTES);
        hasher.update(bytes);
        self.add(Subtree { level: 0, value: hasher.finalize_non_root() });
        self.only = (self.first == 0 && self.leaves == 1).then_some(hasher);
    }

    /// Goes on with the run behind this one. False, and nothing has changed, if it begins elsewhere.
    pub fn join(&mut self, part: &TreePart) -> bool {
        if part.subtrees.is_empty() || part.at != (self.first + self.leaves) * LEAF_BYTES {
            return false;
        }
        part.subtrees.iter().for_each(|subtree| self.add(*subtree));
        self.only = None;
        true
    }

    /// What is kept of it.
    pub fn part(&self) -> TreePart {
        TreePart { at: self.first * LEAF_BYTES, subtrees: self.subtrees.clone() }
    }

    /// The digest of all the bytes, if they begin at the file's beginning and the tree knows them.
    ///
    /// A single leaf that was not pushed here cannot be the whole.
    pub fn digest(&self) -> Option<Digest> {
        if self.first != 0 {
            return None;
        }
        if self.leaves == 0 {
            return Some(Digest(*blake3::hash(b"").as_bytes()));
        }
        if let Some(only) = &self.only {
            return Some(Digest(*only.finalize().as_bytes()));
        }
        let (last, before) = self.subtrees.split_last()?;
        let (first, between) = before.split_first()?;
        let right = between.iter().rev().fold(last.value, |right, left| {
            merge_subtrees_non_root(&left.value, &right, Mode::Hash)
        });
        Some(Digest(*merge_subtrees_root(&first.value, &right, Mode::Hash).as_bytes()))
    }

    fn add(&mut self, subtree: Subtree) {
        while let [.., left, right] = self.subtrees.as_slice() {
            let end = self.first + self.leaves;
            let both = 2_u64.checked_shl(right.level.into()).unwrap_or(0);
            if left.level != right.level || both == 0 || !end.is_multiple_of(both) {
                break;
            }
            let level = left.level + 1;
            let value = merge_subtrees_non_root(&left.value, &right.value, Mode::Hash);
            self.subtrees.truncate(self.subtrees.len() - 2);
            self.subtrees.push(Subtree { level, value });
        }
        self.leaves += 1_u64.checked_shl(subtree.level.into()).unwrap_or(0);
        self.subtrees.push(subtree);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(bytes: usize) -> Vec<u8> {
        let words = (0..bytes.div_ceil(8) as u64).flat_map(|i| (i * 0x9e37_79b9).to_le_bytes());
        words.take(bytes).collect()
    }

    fn pushed(offset: u64, bytes: &[u8]) -> DigestTree {
        let mut tree = DigestTree::at(offset).unwrap();
        bytes.chunks(STRIPE_BYTES_MAX).for_each(|leaf| tree.push(leaf));
        tree
    }

    #[test]
    fn a_tree_that_was_pushed_has_the_digest_of_the_bytes() {
        const LEAF: usize = STRIPE_BYTES_MAX;
        for bytes in
            [0, 1, 1025, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF, 3 * LEAF, 4 * LEAF, 7 * LEAF + 5]
        {
            let content = content(bytes);
            let digest = Digest(*blake3::hash(&content).as_bytes());
            assert_eq!(pushed(0, &content).digest(), Some(digest), "{bytes} bytes");
        }
        assert_eq!(pushed(1 << 20, b"x").digest(), None, "it does not begin at the beginning");
        assert!(DigestTree::at(5).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn trees_of_parts_join_to_that_of_the_whole(
            parts in proptest::collection::vec(1_usize..9, 1..5),
            rest in 0_usize..STRIPE_BYTES_MAX,
        ) {
            let leaves: usize = parts.iter().sum();
            let content = content(leaves * STRIPE_BYTES_MAX + rest);
            let (mut whole, mut at) = (DigestTree::at(0).unwrap(), 0);
            for (number, leaves) in parts.iter().enumerate() {
                let end = if number + 1 == parts.len() {
                    content.len()
                } else {
                    at + leaves * STRIPE_BYTES_MAX
                };
                let part = pushed(at as u64, &content[at..end]);
                prop_assert!(part.part().subtrees.len() <= SUBTREES_MAX);
                prop_assert!(whole.join(&part.part()));
                prop_assert!(!whole.join(&part.part()), "that is not where it belongs");
                at = end;
            }
            let digest = Digest(*blake3::hash(&content).as_bytes());
            let is_one_leaf = content.len() <= STRIPE_BYTES_MAX;
            prop_assert_eq!(whole.digest(), (!is_one_leaf).then_some(digest));
        }
    }
}
