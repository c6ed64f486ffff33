//! Checksums of stripe units: CRC-64/NVME, and those of parity without reading a byte of it.
//!
//! A CRC is affine over XOR: for runs of bytes of one length, `crc(a ^ b) = crc(a) ^ crc(b) ^
//! crc(zeros)`, because the constant that comes from a CRC's first and last step is in all three.
//! So once the four units of a stripe have been read, the checksums of all eight are known.

use std::sync::OnceLock;

use crc_fast::{CrcAlgorithm, Digest};

use super::layout::UNIT_BYTES_MAX;

/// The checksum of a unit, or of any run of bytes.
pub fn unit(bytes: &[u8]) -> u64 {
    crc_fast::crc64_nvme(bytes)
}

/// The checksum of a run of bytes that lies in these parts, one behind the other.
pub fn of_parts(parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// The checksums of O1 O2 O3 O4 from those of A1 A2 B1 B2, for units of this length in bytes.
pub fn of_parity(data: [u64; 4], unit_bytes: usize) -> [u64; 4] {
    let [a1, a2, b1, b2] = data;
    let zeros = of_zeros(unit_bytes);
    // Every XOR brings the constant in once more; O4 takes two of them, which cancel.
    [a1 ^ b1 ^ zeros, a2 ^ b2 ^ zeros, a2 ^ b1 ^ zeros, a1 ^ a2 ^ b2]
}

/// The checksum of the XOR of two runs of bytes of one length, from theirs.
pub fn of_xor(a: u64, b: u64, unit_bytes: usize) -> u64 {
    a ^ b ^ of_zeros(unit_bytes)
}

/// The checksum of so many zero bytes. Every stripe but a file's last asks for the same length,
/// which is kept. Any other is computed from a page of zeros that stays in cache: 5 microseconds for
/// the longest, where the crate's way of combining checksums takes 40 times as long.
fn of_zeros(bytes: usize) -> u64 {
    static FULL_UNIT: OnceLock<u64> = OnceLock::new();
    if bytes == UNIT_BYTES_MAX {
        return *FULL_UNIT.get_or_init(|| digest_of_zeros(bytes));
    }
    digest_of_zeros(bytes)
}

fn digest_of_zeros(bytes: usize) -> u64 {
    static PAGE: [u8; 4096] = [0; 4096];
    if let Some(zeros) = PAGE.get(..bytes) {
        return unit(zeros);
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    for _ in 0..bytes / PAGE.len() {
        digest.update(&PAGE);
    }
    digest.update(&PAGE[..bytes % PAGE.len()]);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{encode, units};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_one_that_others_call_crc_64_nvme() {
        assert_eq!(unit(b"123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!(unit(b""), 0);
    }

    #[test]
    fn zeros_have_the_checksum_of_zeros_at_every_length() {
        let edges = [4095, 4096, 4097, 8192, 100_001, UNIT_BYTES_MAX - 1, UNIT_BYTES_MAX];
        for bytes in (0..300).chain(edges) {
            assert_eq!(of_zeros(bytes), unit(&vec![0; bytes]), "{bytes} bytes");
        }
    }

    proptest! {
        #[test]
        fn parity_has_the_checksums_that_follow_from_the_data(
            seed in any::<u64>(),
            unit_bytes in prop_oneof![0usize..200, 4000usize..9000, Just(UNIT_BYTES_MAX)],
        ) {
            let data: Vec<u8> = (0u64..)
                .take(4 * unit_bytes)
                .map(|i| (i ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0])
                .collect();
            let mut parity = vec![0; data.len()];
            encode(&data, &mut parity);
            let known = units(&data).map(unit);
            prop_assert_eq!(of_parity(known, unit_bytes), units(&parity).map(unit));
            prop_assert_eq!(of_xor(known[0], known[2], unit_bytes), unit(units(&parity)[0]));
        }
    }
}
