//! Which uploads somebody sends at this moment: each has one sender at a time, and none of them is dropped
//! for its age.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::core::types::VersionId;

/// The uploads that are being sent.
#[derive(Default)]
pub struct Uploading {
    ids: Mutex<HashSet<VersionId>>,
}

/// While this lives, nobody else sends this upload.
pub struct Sender<'a> {
    uploading: &'a Uploading,
    id: VersionId,
}

impl Uploading {
    /// Begins to send; `None` if somebody else does.
    pub fn enter(&self, id: VersionId) -> Option<Sender<'_>> {
        let is_new = self.ids.lock().insert(id);
        // A sender that is made in vain would take the id away when it goes.
        is_new.then(|| Sender { uploading: self, id })
    }

    /// Does anybody send this upload?
    pub fn is_sent(&self, id: VersionId) -> bool {
        self.ids.lock().contains(&id)
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        self.uploading.ids.lock().remove(&self.id);
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
}
