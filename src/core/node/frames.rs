//! Reading the frames of a segment or a snapshot, one behind the other.

use std::io;

use crate::core::io::disk::ReadFile;
use crate::core::wire::snapshot::{CHUNK_BYTES, FRAME_HEAD_BYTES, read_frame};

/// How much is read at once.
const READ_BYTES: u64 = 64 << 10;

/// What comes next in a file of frames.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum NextFrame {
    /// The content of a whole frame.
    Content(Vec<u8>),
    /// Nothing: the last frame ended where the file ends.
    End,
    /// Something that is no whole frame.
    Broken,
}

/// Reads frames from some point of a file on.
pub(super) struct FrameReader<'a> {
    file: &'a dyn ReadFile,
    /// Where the next frame begins.
    at: u64,
    length: u64,
    buffer: Vec<u8>,
    consumed: usize,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(file: &'a dyn ReadFile, at: u64) -> io::Result<FrameReader<'a>> {
        Ok(FrameReader { file, at, length: file.length()?, buffer: Vec::new(), consumed: 0 })
    }

    /// Where the next frame begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The length of the file.
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
                Err(_) => return Ok(NextFrame::Broken),
                Ok(None) => {
                    let is_end = ahead.is_empty();
                    if !self.fill()? {
                        return Ok(if is_end { NextFrame::End } else { NextFrame::Broken });
                    }
                }
            }
        }
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
