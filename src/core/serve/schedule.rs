//! Snapshots that the server makes by itself, and removes by itself again.

use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::catalog::NamedMoment;
use crate::core::cluster::{Cluster, spawn};
use crate::core::error::Result;
use crate::core::ladder::{Rung, superfluous};
use crate::core::wire::journal::SnapshotName;

/// What the names of such snapshots begin with.
const PREFIX: &str = "auto-";

/// How often it is looked whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When snapshots are made, and which are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// How long after one the next is made.
    pub every: Duration,
    /// Which are kept.
    pub rungs: Vec<Rung>,
}

/// Begins to make snapshots, until the process ends.
///
/// # Errors
/// If the system has no threads left.
pub(super) fn start(cluster: &Cluster, schedule: Schedule) -> Result<()> {
    let cluster = cluster.clone();
    let mut complained = String::new();
    spawn("snapshot schedule", move || {
        thread::sleep(LOOK_EVERY);
        match round(&cluster, &schedule) {
            Ok(()) => complained.clear(),
            Err(error) => {
                let text = error.to_string();
                if complained != text {
                    tracing::warn!("no snapshot is made now: {text}");
                    complained = text;
                }
            }
        }
        true
    })
}

fn round(cluster: &Cluster, schedule: &Schedule) -> Result<()> {
    if !cluster.roster.leadership().is_established() || cluster.roster.may_change().is_err() {
        return Ok(());
    }
    let now_us = cluster.catalog.now_us();
    let own = |snapshot: &NamedMoment| snapshot.name.as_str().starts_with(PREFIX);
    let mut snapshots = cluster.catalog.snapshots()?;
    snapshots.retain(own);
    let every_us = i64::try_from(schedule.every.as_micros()).unwrap_or(i64::MAX);
    let last = snapshots.iter().map(|snapshot| snapshot.of.0).max();
    // Also where the clock was set back far.
    let is_due = last.is_none_or(|last| now_us.abs_diff(last) >= every_us.unsigned_abs());
    if is_due && let Some(name) = name_of(now_us) {
        cluster.committer.submit(move |draft| draft.make_snapshot(&name, None))?;
        snapshots = cluster.catalog.snapshots()?;
        snapshots.retain(own);
    }
    let times: Vec<i64> = snapshots.iter().map(|snapshot| snapshot.of.ms()).collect();
    let gone = superfluous(&times, now_us.div_euclid(1000), &schedule.rungs);
    for snapshot in snapshots.into_iter().filter(|own| gone.contains(&own.of.ms())) {
        cluster.committer.submit(move |draft| draft.remove_snapshot(&snapshot.name))?;
    }
    Ok(())
}

/// `auto-2026-11-30T10:42:31Z`
fn name_of(now_us: i64) -> Option<SnapshotName> {
    let time = Timestamp::from_microsecond(now_us).ok()?;
    SnapshotName::parse(&format!("{PREFIX}{}", time.strftime("%Y-%m-%dT%H:%M:%SZ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_made_by_itself_is_called_by_its_time() {
        let name = name_of(1_764_499_351_000_001).unwrap();
        assert_eq!(name.as_str(), "auto-2025-11-30T10:42:31Z");
    }
}
