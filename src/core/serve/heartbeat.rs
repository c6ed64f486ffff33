//! Telling somebody who waits that the work goes on.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::core::error::Result;

/// Does the work, and says so every now and then until it is done. If that cannot be said any more, the
/// work is done all the same.
pub(super) fn saying_so<T>(
    every: Duration,
    mut say: impl FnMut() -> Result<()> + Send,
    work: impl FnOnce() -> T,
) -> T {
    let (done, ended) = bounded::<()>(0);
    thread::scope(|scope| {
        let talk = move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if say().is_err() {
                    return;
                }
            }
        };
        // Without a thread to spare it is done in silence.
        let _ = thread::Builder::new().name("heartbeat".into()).spawn_scoped(scope, talk);
        let result = work();
        drop(done);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::{Code, Error};

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn it_is_said_until_the_work_is_done() {
        let (said, hears) = bounded::<()>(0);
        let say = || said.send(()).map_err(|_| Error::other(Code::Unexpected, "nobody hears"));
        let heard = saying_so(MOMENT, say, move || hears.iter().take(3).count());
        assert_eq!(heard, 3);
    }

    #[test]
    fn the_work_is_done_when_nobody_hears_it() {
        let (said, hears) = bounded::<()>(1);
        let say = || {
            let _ = said.try_send(());
            Err(Error::other(Code::Unexpected, "gone"))
        };
        assert_eq!(saying_so(MOMENT, say, || hears.recv().map(|()| 7)), Ok(7));
        assert_eq!(saying_so(Duration::MAX, || Ok(()), || 8), 8, "and at once");
    }
}
