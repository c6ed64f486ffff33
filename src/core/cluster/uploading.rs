//! Which uploads somebody sends at this moment: each has one sender at a time, or one for each of its
//! numbered parts, and none of them is dropped for its age.

use parking_lot::Mutex;

use crate::core::types::VersionId;

/// The uploads that are being sent.
#[derive(Default)]
pub struct Uploading {
    sent: Mutex<Vec<Sent>>,
}

/// What is being sent.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sent {
    upload: VersionId,
    /// The part with this number; `None` for all of it.
    part: Option<u32>,
}

/// While this lives, nobody else sends the same.
pub struct Sender<'a> {
    uploading: &'a Uploading,
    sent: Sent,
}

impl Uploading {
    /// Begins to send an upload; `None` if somebody else sends it, or a part of it.
    pub fn enter(&self, upload: VersionId) -> Option<Sender<'_>> {
        self.begin(Sent { upload, part: None })
    }

    /// Begins to send a part of one, others of which may be sent side by side; `None` if somebody else sends
    /// this one, or all of it.
    pub fn enter_part(&self, upload: VersionId, number: u32) -> Option<Sender<'_>> {
        self.begin(Sent { upload, part: Some(number) })
    }

    fn begin(&self, sent: Sent) -> Option<Sender<'_>> {
        let mut all = self.sent.lock();
        let is_same = |own: &Sent| {
            let is_part = own.part.is_none() || sent.part.is_none() || own.part == sent.part;
            own.upload == sent.upload && is_part
        };
        if all.iter().any(is_same) {
            return None;
        }
        all.push(sent);
        Some(Sender { uploading: self, sent })
    }

    /// Does anybody send this upload, or a part of it?
    pub fn is_sent(&self, upload: VersionId) -> bool {
        self.sent.lock().iter().any(|own| own.upload == upload)
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        self.uploading.sent.lock().retain(|own| *own != self.sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_one_sender_at_a_time() {
        let uploading = Uploading::default();
        let id = VersionId([1; 16]);
        let sender = uploading.enter(id);
        assert!(sender.is_some() && uploading.enter(id).is_none() && uploading.is_sent(id));
        assert!(uploading.enter(VersionId([2; 16])).is_some());
        drop(sender);
        assert!(!uploading.is_sent(id) && uploading.enter(id).is_some());
    }
    #[test]
    fn parts_are_sent_side_by_side_and_each_by_one() {
        let uploading = Uploading::default();
        let id = VersionId([1; 16]);
        let parts = [1, 2].map(|number| uploading.enter_part(id, number));
        assert!(parts.iter().all(Option::is_some) && uploading.enter_part(id, 2).is_none());
        assert!(uploading.enter(id).is_none() && uploading.is_sent(id));
        drop(parts);
        let whole = uploading.enter(id);
        assert!(whole.is_some() && uploading.enter_part(id, 1).is_none());
    }
}
