//! An answer that is given again for a while, so that however many ask, and however often, finding it takes
//! a part of the time only.

use std::time::Duration;

use crate::core::error::Result;

/// An answer is given again for this many times as long as it took to find it.
const PAUSE_FACTOR: u32 = 10;

/// The last answer, and until when it is given.
pub(super) struct Told<T> {
    last: Option<(Duration, T)>,
}

impl<T> Default for Told<T> {
    fn default() -> Told<T> {
        Told { last: None }
    }
}

impl<T: Clone> Told<T> {
    /// The answer; `now` counts from a fixed point.
    ///
    /// # Errors
    /// Those of finding it, which are not given again.
    pub(super) fn get(
        &mut self,
        now: impl Fn() -> Duration,
        find: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let begun = now();
        if let Some((until, answer)) = &self.last
            && begun < *until
        {
            return Ok(answer.clone());
        }
        let answer = find()?;
        let ended = now();
        self.last = Some((ended + PAUSE_FACTOR * ended.saturating_sub(begun), answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::core::error::{Code, Error};

    #[test]
    fn an_answer_is_given_again_for_ten_times_as_long_as_it_took() {
        let (clock, found) = (Cell::new(0), Cell::new(0));
        let now = || Duration::from_secs(clock.get());
        let mut told = Told::default();
        let mut ask = |seconds| {
            told.get(now, || {
                found.set(found.get() + 1);
                clock.set(clock.get() + seconds);
                Ok(found.get())
            })
        };
        assert_eq!(ask(3).unwrap(), 1);
        clock.set(32);
        assert_eq!(ask(3).unwrap(), 1);
        clock.set(33);
        assert_eq!(ask(0).unwrap(), 2);
        assert_eq!(ask(0).unwrap(), 3, "what takes no time is always new");
        let failed = told.get(now, || Err(Error::other(Code::Unexpected, "no")));
        assert!(failed.is_err());
        assert_eq!(told.get(now, || Ok(4)).unwrap(), 4);
    }
}
