//! What the service manager is told: ready, in which state, reloading, about to stop.
//!
//! It listens on the datagram socket that `NOTIFY_SOCKET` names. Where there is none, nothing is sent. A
//! message that cannot be sent is logged and changes nothing else: the work does not depend on it.

use sd_notify::NotifyState;

use crate::core::io::reason;

/// Does anybody listen?
pub(in crate::cmd) fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|place| !place.is_empty())
}

/// Requests are taken from now on; `status` is for people.
pub(in crate::cmd) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What it does now, for people.
pub(in crate::cmd) fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// Files are read again. [`reloaded`] has to follow.
pub(in crate::cmd) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => failed(&error),
    }
}

/// The end of a reload.
pub(in crate::cmd) fn reloaded() {
    send(&[NotifyState::Ready]);
}

/// The end has begun.
pub(in crate::cmd) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

fn send(states: &[NotifyState<'_>]) {
    if is_heard()
        && let Err(error) = sd_notify::notify(states)
    {
        failed(&error);
    }
}

fn failed(error: &std::io::Error) {
    tracing::warn!("the service manager cannot be told how far this is: {}", reason(error));
}
