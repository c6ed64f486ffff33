//! Reading the frames of a segment or a snapshot, one behind the other.
//!
//! ```text
//!   frame | frame | frame | 0 0 0 0 0      the end: zeros that were written ahead, up to the end of the file
//!   frame | frame | fra000me               cut short: a crash came before all sectors of it were there
//!   frame | frame | frXme | frame          damage
//! ```

use std::io;

use crate::core::io::disk::ReadFile;
use crate::core::wire::node::{BODY_BYTES_MAX, ENTRIES_MAX, ENTRY_BYTES_MAX};
use crate::core::wire::snapshot::{CHUNK_BYTES, FRAME_HEAD_BYTES, read_frame};

/// A disk writes this many bytes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// No append is longer than this.
const APPEND_BYTES_MAX: u64 = 1 << 20;

const _: () = assert!(
    (ENTRY_BYTES_MAX + BODY_BYTES_MAX + ENTRIES_MAX * 128) as u64 <= APPEND_BYTES_MAX,
    "records, pieces, and what stands around them"
);

/// How much is read at once.
const READ_BYTES: u64 = 64 << 10;

/// What comes next in a file of frames.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum NextFrame {
    /// The content of a whole frame.
    Content(Vec<u8>),
    /// Nothing: the last frame ended where the file ends, or where the zeros begin that were written
    /// ahead.
    End,
    /// Something that is no whole frame.
    Broken,
}

/// Reads frames from some point of a file on.
pub(super) struct FrameReader<'a> {
    file: &'a dyn ReadFile,
    /// Where the next frame begins.
    at: u64,
    /// Nothing is read from there on.
    length: u64,
    buffer: Vec<u8>,
    consumed: usize,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(file: &'a dyn ReadFile, at: u64) -> io::Result<FrameReader<'a>> {
        FrameReader::up_to(file, at, u64::MAX)
    }

    /// Reads no further than up to `end`, for a file that may be cut to this length meanwhile.
    pub(super) fn up_to(file: &'a dyn ReadFile, at: u64, end: u64) -> io::Result<FrameReader<'a>> {
        let length = file.length()?.min(end);
        Ok(FrameReader { file, at, length, buffer: Vec::new(), consumed: 0 })
    }

    /// Where the next frame begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The length of what is read of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn next(&mut self) -> io::Result<NextFrame> {
        loop {
            let ahead = &self.buffer[self.consumed..];
            match read_frame(ahead) {
                Ok(Some((content, frame_bytes))) => {
                    let content = content.to_vec();
                    self.consumed += frame_bytes;
                    self.at += frame_bytes as u64;
                    return Ok(NextFrame::Content(content));
                }
                Err(_) => return self.ending(),
                Ok(None) => {
                    if !self.fill()? {
                        return self.ending();
                    }
                }
            }
        }
    }

    /// What there is where there is no frame.
    fn ending(&self) -> io::Result<NextFrame> {
        let is_end = is_zero(&self.buffer[self.consumed..]) && self.is_zero_from(self.at)?;
        Ok(if is_end { NextFrame::End } else { NextFrame::Broken })
    }

    /// Is there nothing else than zeros from there up to the end of the file?
    fn is_zero_from(&self, from: u64) -> io::Result<bool> {
        let mut at = from;
        let mut buffer = Vec::new();
        while at < self.length {
            let part = (self.length - at).min(READ_BYTES);
            buffer.resize(usize::try_from(part).unwrap_or_default(), 0);
            self.file.read_exact_at(&mut buffer, at)?;
            if !is_zero(&buffer) {
                return Ok(false);
            }
            at += part;
        }
        Ok(true)
    }

    /// Has a crash cut short the append that what is broken belongs to? Then the file ends in the middle
    /// of it, or some sector of it is still zero, as it was written ahead; and as it was the last append,
    /// nothing is further behind than it can be long.
    pub(super) fn is_cut_short(&self) -> io::Result<bool> {
        Ok(self.is_incomplete() && self.is_zero_from(self.at + APPEND_BYTES_MAX)?)
    }

    /// Does something of what is broken lack?
    fn is_incomplete(&self) -> bool {
        let ahead = &self.buffer[self.consumed..];
        let Some((head, _)) = ahead.split_first_chunk::<FRAME_HEAD_BYTES>() else { return true };
        let content_bytes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let is_possible = (1..=CHUNK_BYTES).contains(&content_bytes);
        let frame_bytes = FRAME_HEAD_BYTES + if is_possible { content_bytes } else { 0 };
        let Some(frame) = ahead.get(..frame_bytes) else { return true };
        let into_sector = usize::try_from(self.at).unwrap_or_default() % SECTOR_BYTES;
        let (first, others) = frame.split_at((SECTOR_BYTES - into_sector).min(frame_bytes));
        is_zero(first) || others.chunks(SECTOR_BYTES).any(is_zero)
    }

    /// Passes over something that is no whole frame, by the length that it names. False if that leads
    /// nowhere.
    pub(super) fn skip_broken(&mut self) -> bool {
        let Some((head, _)) = self.buffer[self.consumed..].split_first_chunk::<4>() else {
            return false;
        };
        let content_bytes = u64::from(u32::from_le_bytes(*head));
        let behind = self.at + FRAME_HEAD_BYTES as u64 + content_bytes;
        if content_bytes == 0 || content_bytes > CHUNK_BYTES as u64 || behind >= self.length {
            return false;
        }
        self.at = behind;
        self.buffer.clear();
        self.consumed = 0;
        true
    }

    /// Reads more; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let from = self.at + self.buffer.len() as u64;
        let wanted = self.length.saturating_sub(from).min(READ_BYTES);
        if wanted == 0 {
            return Ok(false);
        }
        let kept = self.buffer.len();
        self.buffer.resize(kept + usize::try_from(wanted).unwrap_or_default(), 0);
        self.file.read_exact_at(&mut self.buffer[kept..], from)?;
        Ok(true)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::io::disk::{Disk, RealDisk};
    use crate::core::wire::snapshot::frame;

    /// How many frames there are, what is behind them, and whether a crash has cut that short.
    fn read(parts: &[&[u8]]) -> (usize, NextFrame, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, parts.concat()).unwrap();
        let file = RealDisk.open(&path).unwrap();
        let mut reader = FrameReader::new(&*file, 0).unwrap();
        let mut frames = 0;
        loop {
            match reader.next().unwrap() {
                NextFrame::Content(_) => frames += 1,
                ending => return (frames, ending, reader.is_cut_short().unwrap()),
            }
        }
    }

    #[test]
    fn the_frames_end_where_the_file_does_or_only_zeros_follow() {
        let one = frame(&[7; 3000]);
        for zeros in [0, 1, 11, 12, 5000, 2 << 20] {
            let (frames, ending, _) = read(&[&one, &one, &vec![0; zeros]]);
            assert_eq!((frames, ending), (2, NextFrame::End), "{zeros}");
        }
    }

    #[test]
    fn an_append_that_lacks_sectors_was_cut_short_and_any_other_broken_frame_was_not() {
        let one = frame(&[7; 3000]);
        let changed = |from: usize, to: usize, byte: u8| {
            let mut own = one.clone();
            own[from..to].fill(byte);
            own
        };
        // The second frame covers the rest of a sector, four whole ones, and some of another.
        assert_eq!(one.len(), 3012);
        let first_end = 6 * 512 - one.len();
        let last_from = 11 * 512 - one.len();
        let zeros = vec![0; 1 << 20];
        for (second, is_cut_short) in [
            (changed(0, first_end, 0), true),
            (changed(first_end + 512, first_end + 1024, 0), true),
            (changed(last_from, 3012, 0), true),
            (one[..2000].to_vec(), true),
            (one[..5].to_vec(), true),
            (changed(first_end + 512, first_end + 1023, 0), false),
            (changed(2000, 2001, 6), false),
            (changed(20, first_end, 0), false),
        ] {
            let expected = (1, NextFrame::Broken, is_cut_short);
            // A part of a frame is cut short where the file ends.
            let behind: &[&[u8]] =
                if second.len() < one.len() { &[&[]] } else { &[&[], &one, &zeros] };
            for behind in behind {
                assert_eq!(read(&[&one, &second, behind]), expected, "{}", behind.len());
            }
        }
        // No append is so long.
        let torn = changed(first_end, 3000, 0);
        assert_eq!(read(&[&one, &torn, &zeros[..1 << 19], &one]), (1, NextFrame::Broken, true));
        assert_eq!(read(&[&one, &torn, &zeros, &one]), (1, NextFrame::Broken, false));
    }
}
