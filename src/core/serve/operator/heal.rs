//! Verb `heal`: every piece that nodes lack, rebuilt now.

use crate::core::error::Result;
use crate::core::serve::operator::pass::total;
use crate::core::serve::operator::{Caller, Operator, Reporter};
use crate::core::status::{Debt, State};
use crate::core::wire::reports::{Healing, Remaining};

/// Two passes that leave nothing undone for a reason: what is missing then is on its way.
const QUIET_PASSES: u32 = 2;

/// More passes than this are not made while pieces turn up that are missing for no known reason.
const PASSES_MAX: u32 = 1000;

impl Operator {
    /// Has every missing piece tried at once, and again as long as that gets further. Gives the exit
    /// status: 0 if none is missing any more, 20 if some cannot be rebuilt now.
    ///
    /// # Errors
    /// If this server may change nothing, or the catalog cannot be read.
    pub fn heal(&self, caller: &mut dyn Caller) -> Result<(u8, Healing)> {
        self.may_work()?;
        let mut reporter = Reporter::new(caller);
        let healing = &self.upkeep.repairs;
        let before = (healing.pieces(), healing.bytes_read());
        let report = |owed: Debt, remaining: Vec<Remaining>| Healing {
            pieces: healing.pieces() - before.0,
            bytes_read: healing.bytes_read() - before.1,
            owed,
            remaining,
        };
        let mut quiet = 0;
        for _ in 0..PASSES_MAX {
            let passed = self.pass(&mut || {
                reporter.tell(|| Ok(report(total(&self.cluster.catalog.debts()?), Vec::new())))?;
                Ok(!reporter.has_gone())
            })?;
            let Some(passed) = passed else { break };
            let owed = passed.owed();
            let is_quiet = passed.remaining.is_empty() && owed.pieces == 0;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if owed == Debt::default() || quiet >= QUIET_PASSES {
                return Ok((State::Healthy.exit_status(), report(owed, Vec::new())));
            }
            if !passed.remaining.is_empty() && passed.healed == 0 {
                let report = report(owed, passed.remaining);
                return Ok((State::Degraded.exit_status(), report));
            }
        }
        let owed = total(&self.cluster.catalog.debts()?);
        Ok((State::Degraded.exit_status(), report(owed, Vec::new())))
    }
}
