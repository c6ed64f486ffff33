//! The file that the demo makes if it is given none: a picture of a few megabytes, another one each
//! time, that every program for pictures can show.

use std::io::{self, Write};

pub(super) const WIDTH: u32 = 1600;
pub(super) const HEIGHT: u32 = 1200;
const HEAD_BYTES: u32 = 54;
const PIXEL_BYTES: u32 = 3;
// Lines of a BMP are padded to four bytes; these need none.
const _: () = assert!((WIDTH * PIXEL_BYTES).is_multiple_of(4));

/// Writes a BMP of three systems of rings that meet; `seeds` decide where.
///
/// # Errors
/// Those of the sink.
pub(super) fn write(seeds: [u32; 3], sink: &mut impl Write) -> io::Result<()> {
    sink.write_all(&head())?;
    let centres =
        seeds.map(|seed| (((seed & 0xffff) * WIDTH) >> 16, ((seed >> 16) * HEIGHT) >> 16));
    let mut line = Vec::with_capacity((WIDTH * PIXEL_BYTES) as usize);
    for y in 0..HEIGHT {
        line.clear();
        for x in 0..WIDTH {
            line.extend(centres.map(|(cx, cy)| ring(x.abs_diff(cx), y.abs_diff(cy))));
        }
        sink.write_all(&line)?;
    }
    Ok(())
}

/// How bright it is at this distance from the centre: up and down again, in ever narrower rings.
fn ring(dx: u32, dy: u32) -> u8 {
    let [value, is_falling, ..] = ((dx * dx + dy * dy) >> 8).to_le_bytes();
    if is_falling & 1 == 0 { value } else { !value }
}

fn head() -> Vec<u8> {
    let data_bytes = WIDTH * HEIGHT * PIXEL_BYTES;
    let mut head = b"BM".to_vec();
    // Size, reserved, where the pixels begin; size of what follows, width, height.
    for number in [HEAD_BYTES + data_bytes, 0, HEAD_BYTES, 40, WIDTH, HEIGHT] {
        head.extend(number.to_le_bytes());
    }
    // One plane of 24 bits, not compressed; pixels a metre both ways; no palette.
    head.extend([1, 0, 24, 0]);
    for number in [0, data_bytes, 2835, 2835, 0, 0] {
        head.extend(number.to_le_bytes());
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_as_long_as_it_says_and_another_one_each_time() {
        let draw = |seed| {
            let mut bytes = Vec::new();
            write(seed, &mut bytes).unwrap();
            bytes
        };
        let bytes = draw([1 << 20, 2 << 20, 3 << 20]);
        assert_eq!(bytes.len(), 54 + 1600 * 1200 * 3);
        assert_eq!(bytes[2..6], u32::try_from(bytes.len()).unwrap().to_le_bytes());
        assert!(bytes != draw([1 << 20, 2 << 20, 4 << 20]));
    }
}
