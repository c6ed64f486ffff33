//! Verbs `snapshot` and `purge`: names for moments, and letting go of what is kept.

use crate::core::catalog::UserId;
use crate::core::error::{Code, Error, Result};
use crate::core::path::UserName;
use crate::core::serve::operator::{Caller, Operator};
use crate::core::status::Kept;
use crate::core::wire::admin::{Answer, Fields, fields};
use crate::core::wire::journal::{SNAPSHOT_NAME_BYTES_MAX, SnapshotName};
use crate::core::wire::retention::{Purged, SnapshotAsk, SnapshotLine};

/// So much of one account is let go of at a time.
const STEP_BYTES: u64 = 1 << 40;

impl Operator {
    /// Makes, lists and removes snapshots.
    ///
    /// # Errors
    /// [`Code::Usage`] for a name that cannot be one; [`Code::Exists`], [`Code::NoSuchFile`]; those of any
    /// change.
    pub fn snapshot(&self, ask: &SnapshotAsk, caller: &mut dyn Caller) -> Result<Answer> {
        let cluster = &self.cluster;
        match ask {
            SnapshotAsk::Create { name, keep_ms } => {
                self.may_work()?;
                let name = parse(name)?;
                let until_ms = keep_ms.map(|keep_ms| {
                    let now_ms = cluster.catalog.now_us().div_euclid(1000);
                    now_ms.saturating_add(i64::try_from(keep_ms).unwrap_or(i64::MAX))
                });
                cluster.committer.submit(move |draft| draft.make_snapshot(&name, until_ms))?;
            }
            SnapshotAsk::List => {
                for snapshot in cluster.catalog.snapshots()? {
                    let name = snapshot.name.to_string();
                    let (of_us, until_ms) = (snapshot.of.0, snapshot.until_ms);
                    caller.item(fields(&SnapshotLine { name, of_us, until_ms })?);
                }
            }
            SnapshotAsk::Delete { name } => {
                self.may_work()?;
                let name = parse(name)?;
                cluster.committer.submit(move |draft| draft.remove_snapshot(&name))?;
                cluster.notifier.notify();
            }
        }
        Ok(Answer { code: 0, fields: Fields::new() })
    }

    /// Lets go of all that is kept for undo, of one account or of all.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`]; those of any change.
    pub fn purge(&self, user: Option<&str>, caller: &mut dyn Caller) -> Result<(u8, Purged)> {
        self.may_work()?;
        let catalog = &self.cluster.catalog;
        let of: Vec<UserId> = match user {
            Some(user) => {
                let name = UserName::parse(user).map_err(|_| Error::NoSuchUser(user.to_owned()))?;
                vec![catalog.user_id(&name)?]
            }
            None => catalog.live_users()?,
        };
        let before_bytes = self.kept_bytes(&of)?;
        for user in &of {
            while !caller.has_gone() && self.cluster.let_go_of(*user, STEP_BYTES)? {
                let after_bytes = self.kept_bytes(&of)?;
                caller.progress(fields(&Purged { before_bytes, after_bytes })?);
            }
        }
        self.cluster.notifier.notify();
        Ok((0, Purged { before_bytes, after_bytes: self.kept_bytes(&of)? }))
    }

    fn kept_bytes(&self, users: &[UserId]) -> Result<u64> {
        let mut all: u64 = 0;
        for user in users {
            let (_, usage) = self.cluster.catalog.quota_and_usage(*user)?;
            all = all.saturating_add(usage.kept_bytes());
        }
        Ok(all)
    }

    /// What is kept for undo and in snapshots.
    pub(super) fn kept(&self) -> Result<Kept> {
        let catalog = &self.cluster.catalog;
        let snapshots = catalog.snapshots()?.len() as u64;
        Ok(Kept { bytes: self.kept_bytes(&catalog.live_users()?)?, snapshots })
    }
}

fn parse(name: &str) -> Result<SnapshotName> {
    let text = || {
        format!(
            "{name:?} is no name of a snapshot: 1 to {SNAPSHOT_NAME_BYTES_MAX} letters, digits and . _ - :, \
             the first one a letter"
        )
    };
    SnapshotName::parse(name).ok_or_else(|| Error::other(Code::Usage, text()))
}
