//! One stripe with its parity and all checksums: what the pieces of a small file are.

use crate::core::code::layout::Layout;
use crate::core::code::{checksum, kernel};
use crate::core::types::NodeId;

/// The eight units of a stripe, A1 A2 B1 B2 O1 O2 O3 O4, and their checksums.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodedStripe {
    bytes: Vec<u8>,
    unit_bytes: usize,
    checksums: [u64; 8],
}

impl CodedStripe {
    /// Codes a file of one stripe.
    pub fn of_file(file: &[u8]) -> CodedStripe {
        let layout = Layout::new(file.len() as u64);
        debug_assert_eq!(layout.stripe_count(), 1);
        let unit_bytes = layout.unit_bytes(0);
        let mut bytes = vec![0; 8 * unit_bytes];
        let (data, parity) = bytes.split_at_mut(4 * unit_bytes);
        data[..file.len()].copy_from_slice(file);
        layout.pad(0, data);
        kernel::encode(data, parity);
        let of_data: [u64; 4] =
            std::array::from_fn(|i| checksum::unit(&data[i * unit_bytes..(i + 1) * unit_bytes]));
        let of_parity = checksum::of_parity(of_data, unit_bytes);
        let checksums = std::array::from_fn(|i| if i < 4 { of_data[i] } else { of_parity[i - 4] });
        CodedStripe { bytes, unit_bytes, checksums }
    }

    /// The length of a unit in bytes.
    pub fn unit_bytes(&self) -> usize {
        self.unit_bytes
    }

    /// A node's two units, one behind the other, and their checksums. The two units of every node are
    /// neighbours.
    pub fn for_node(&self, id: NodeId) -> (&[u8], [u64; 2]) {
        let first = 2 * id.index();
        let units = &self.bytes[first * self.unit_bytes..(first + 2) * self.unit_bytes];
        (units, [self.checksums[first], self.checksums[first + 1]])
    }

    /// How much memory it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_gets_its_two_units_and_their_checksums() {
        let file: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let coded = CodedStripe::of_file(&file);
        let units = coded.unit_bytes();
        assert_eq!(coded.for_node(NodeId::ALL[0]).0, &file[..2 * units]);
        for id in NodeId::ALL {
            let (both, sums) = coded.for_node(id);
            let (first, second) = both.split_at(units);
            assert_eq!(sums, [first, second].map(checksum::unit));
        }
        let pair = [NodeId::ALL[2], NodeId::ALL[3]];
        let of = |id: NodeId| coded.for_node(id).0.split_at(units).into();
        let mut data = vec![0; 4 * units];
        kernel::decode(pair, pair.map(of), &mut data);
        assert_eq!(&data[..file.len()], file);
    }
}
