//! Where the bytes of a file lie: padding, stripes, units, blocks.
//!
//! ```text
//!   file + padding  |      stripe 0       |      stripe 1       | ... |  last stripe  |
//!                   | A1 | A2 | B1 | B2   | A1 | A2 | B1 | B2   |     | A1|A2|B1|B2   |
//!   block B1                  unit 0    +           unit 1    + ... +        last unit
//! ```
//!
//! Invariants: padding is 1 to 4 bytes, so the padded length is a multiple of four and never zero;
//! every stripe but the last is [`STRIPE_BYTES_MAX`] long; padding lies in the last stripe only,
//! because it never crosses a multiple of four and stripes begin on one. The last stripe may hold
//! nothing but padding.

/// The bytes of a full stripe unit: what one stripe puts into one block.
pub const UNIT_BYTES_MAX: usize = 256 * 1024;

/// The bytes of a full stripe, four units.
pub const STRIPE_BYTES_MAX: usize = 4 * UNIT_BYTES_MAX;

/// The largest file that has a layout, in bytes. Far beyond any disk; padded lengths, doubled for
/// parity, still fit a `u64` below it.
pub const FILE_BYTES_MAX: u64 = 1 << 60;

const UNITS: u64 = 4;

const _: () = assert!((STRIPE_BYTES_MAX as u64).is_multiple_of(UNITS));
const _: () = assert!(FILE_BYTES_MAX <= u64::MAX / 2 - UNITS);

/// How a file of one size is padded and cut. All methods are arithmetic on that size.
///
/// Stripes are numbered from 0. Methods that take a stripe number panic if there is no such stripe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    file_bytes: u64,
}

impl Layout {
    /// The layout of a file of so many bytes.
    ///
    /// # Panics
    /// If the file is larger than [`FILE_BYTES_MAX`]; [`Layout::checked`] is for sizes from outside.
    pub fn new(file_bytes: u64) -> Layout {
        assert!(file_bytes <= FILE_BYTES_MAX, "{file_bytes} bytes are more than any file has");
        Layout { file_bytes }
    }

    /// The layout of a file of so many bytes; nothing if that is more than [`FILE_BYTES_MAX`].
    pub fn checked(file_bytes: u64) -> Option<Layout> {
        (file_bytes <= FILE_BYTES_MAX).then_some(Layout { file_bytes })
    }

    /// The file's own length, without padding.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// How many bytes are added at the end, and the value of each: 1 to 4.
    pub fn padding(&self) -> usize {
        at_most(UNITS - self.file_bytes % UNITS, 4)
    }

    /// The file's length with its padding: a multiple of four, never zero.
    pub fn padded_bytes(&self) -> u64 {
        self.file_bytes + self.padding() as u64
    }

    /// The length of each of the eight blocks.
    pub fn block_bytes(&self) -> u64 {
        self.padded_bytes() / UNITS
    }

    /// How many stripes there are, at least one.
    pub fn stripe_count(&self) -> u64 {
        self.padded_bytes().div_ceil(STRIPE_BYTES_MAX as u64)
    }

    /// The length of each of the stripe's eight units: 1 to [`UNIT_BYTES_MAX`].
    pub fn unit_bytes(&self, stripe: u64) -> usize {
        at_most(self.block_bytes() - self.unit_offset(stripe), UNIT_BYTES_MAX)
    }

    /// The length of the stripe, padding included: four units.
    pub fn stripe_bytes(&self, stripe: u64) -> usize {
        4 * self.unit_bytes(stripe)
    }

    /// Where the stripe's unit begins in its block, in bytes.
    pub fn unit_offset(&self, stripe: u64) -> u64 {
        assert!(stripe < self.stripe_count(), "there is no stripe {stripe} in {self:?}");
        stripe * UNIT_BYTES_MAX as u64
    }

    /// Where the stripe begins in the file, in bytes: the file's length at most.
    pub fn file_offset(&self, stripe: u64) -> u64 {
        self.unit_offset(stripe) * UNITS
    }

    /// How many bytes of the file itself lie in the stripe, without padding; possibly none in the
    /// last stripe.
    pub fn file_bytes_in(&self, stripe: u64) -> usize {
        at_most(self.file_bytes - self.file_offset(stripe), STRIPE_BYTES_MAX)
    }

    /// Writes the padding behind the file's bytes in the last stripe; leaves other stripes alone.
    ///
    /// The buffer begins with the stripe and may be longer than it.
    ///
    /// # Panics
    /// If the buffer is shorter than [`Layout::stripe_bytes`].
    pub fn pad(&self, stripe: u64, stripe_buffer: &mut [u8]) {
        let value = [0u8, 1, 2, 3, 4][self.padding()];
        stripe_buffer[self.file_bytes_in(stripe)..self.stripe_bytes(stripe)].fill(value);
    }
}

/// A length that has a limit, as an index.
fn at_most(bytes: u64, limit: usize) -> usize {
    usize::try_from(bytes).map_or(limit, |bytes| bytes.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn an_empty_file_is_one_stripe_of_four_padding_bytes() {
        let layout = Layout::new(0);
        assert_eq!(layout.padding(), 4);
        assert_eq!(layout.block_bytes(), 1);
        assert_eq!(layout.stripe_count(), 1);
        assert_eq!(layout.unit_bytes(0), 1);
        assert_eq!(layout.file_bytes_in(0), 0);
        let mut stripe = [9u8; 6];
        layout.pad(0, &mut stripe);
        assert_eq!(stripe, [4, 4, 4, 4, 9, 9]);
    }

    #[test]
    fn a_file_of_one_mebibyte_ends_in_a_stripe_of_padding_only() {
        let layout = Layout::new(MIB);
        assert_eq!(layout.stripe_count(), 2);
        assert_eq!((layout.unit_bytes(0), layout.unit_bytes(1)), (UNIT_BYTES_MAX, 1));
        assert_eq!((layout.file_bytes_in(0), layout.file_bytes_in(1)), (STRIPE_BYTES_MAX, 0));
        assert_eq!(layout.file_offset(1), MIB);
        let mut stripe = [0u8; 4];
        layout.pad(1, &mut stripe);
        assert_eq!(stripe, [4; 4]);
        assert_eq!(Layout::new(MIB - 1).stripe_count(), 1);
    }

    #[test]
    fn padding_touches_no_stripe_but_the_last() {
        let layout = Layout::new(MIB + 1);
        let mut full = vec![9u8; STRIPE_BYTES_MAX];
        layout.pad(0, &mut full);
        assert!(full.iter().all(|byte| *byte == 9));
        let mut last = [9u8; 4];
        layout.pad(1, &mut last);
        assert_eq!(last, [9, 3, 3, 3]);
    }

    #[test]
    fn the_stripes_add_up_to_the_file_at_every_size() {
        let near = [MIB, 2 * MIB, 5 * MIB].into_iter().flat_map(|edge| edge - 9..edge + 9);
        for file_bytes in (0..5000).chain(near) {
            let layout = Layout::new(file_bytes);
            assert!((1..=4).contains(&layout.padding()));
            assert_eq!(layout.padded_bytes() % 4, 0);
            let stripes = 0..layout.stripe_count();
            let units: u64 = stripes.clone().map(|at| layout.unit_bytes(at) as u64).sum();
            assert_eq!(units, layout.block_bytes());
            let own: u64 = stripes.clone().map(|at| layout.file_bytes_in(at) as u64).sum();
            assert_eq!(own, file_bytes);
            assert!(stripes.clone().all(|at| layout.unit_bytes(at) > 0));
        }
    }

    #[test]
    fn the_largest_sizes_do_not_overflow() {
        let layout = Layout::new(FILE_BYTES_MAX);
        let last = layout.stripe_count() - 1;
        assert_eq!(layout.unit_offset(last) + layout.unit_bytes(last) as u64, layout.block_bytes());
        assert_eq!(layout.file_offset(last) + layout.file_bytes_in(last) as u64, FILE_BYTES_MAX);
        assert_eq!(Layout::checked(FILE_BYTES_MAX), Some(layout));
        assert_eq!(Layout::checked(FILE_BYTES_MAX + 1), None);
        assert_eq!(Layout::checked(u64::MAX), None);
    }

    #[test]
    #[should_panic(expected = "there is no stripe 1")]
    fn a_stripe_past_the_end_is_a_bug_of_the_caller() {
        Layout::new(MIB - 1).unit_bytes(1);
    }
}
