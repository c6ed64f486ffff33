//! `LOCK` and `UNLOCK`, and what is told of locks.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderName;

use super::asked::{Asked, Outcome, Refusal};
use super::dav::{Depth, as_xml};
use super::locks::{LONGEST, Lock, USUAL};
use super::{set, value};
use crate::core::error::{Code, Error};
use crate::core::io::http::Response;
use crate::core::wire::web::dav::{self as xml, LockTold};

impl Asked {
    /// `LOCK`: a new one, or one that goes on.
    pub(super) fn lock(&self, body: &[u8]) -> Outcome {
        let locks = &self.visit.web.locks;
        let lasts = timeout(value(&self.head, "timeout"));
        let until = Instant::now() + lasts;
        let entry = self.look(&self.path)?;
        let tokens = self.check(entry.as_ref())?;
        let Some(wanted) = xml::lock(body)? else {
            let refreshed = locks.refresh(self.account(), &self.path, &tokens, until);
            let lock = refreshed.ok_or_else(|| {
                let status = StatusCode::PRECONDITION_FAILED;
                Refusal::of(status, Code::Changed, "there is no such lock to go on with")
            })?;
            return Ok(self.locked(StatusCode::OK, &lock).into());
        };
        let is_deep = match self.depth() {
            None | Some(Depth::Infinity) => true,
            Some(Depth::Zero) => false,
            Some(_) => return Err(Error::Protocol("Depth is 0 or infinity here".into()).into()),
        };
        // Whoever may change nothing keeps nobody from changing it.
        self.user.changes(&self.path)?;
        let status = match entry {
            Some(_) => StatusCode::OK,
            None => {
                self.check_above(&self.path)?;
                self.guard_name(&self.path, &tokens)?;
                StatusCode::CREATED
            }
        };
        let token = format!("urn:uuid:{}", uuid(&self.files().random.version().0));
        let path = self.path.clone();
        let lock = Lock { token, path, is_deep, wanted, until };
        if !locks.take(self.account(), lock.clone())? {
            return Err(Refusal::of(StatusCode::LOCKED, Code::Busy, "it is locked already")
                .saying(as_xml(StatusCode::LOCKED, xml::error("no-conflicting-lock", ""))));
        }
        if entry.is_none()
            && let Err(error) = self.make_empty()
        {
            locks.release(self.account(), &self.path, &lock.token);
            return Err(error.into());
        }
        let mut response = self.locked(status, &lock);
        set(&mut response, HeaderName::from_static("lock-token"), &format!("<{}>", lock.token));
        Ok(response.into())
    }

    fn locked(&self, status: StatusCode, lock: &Lock) -> Response {
        let told = self.discovery(std::slice::from_ref(lock));
        let text = format!("{}<D:prop xmlns:D=\"DAV:\">{told}</D:prop>\n", xml::HEAD);
        as_xml(status, text)
    }

    /// Tells of locks.
    pub(super) fn discovery(&self, locks: &[Lock]) -> String {
        let now = Instant::now();
        let roots: Vec<String> = locks.iter().map(|lock| self.href(&lock.path, false)).collect();
        let told: Vec<LockTold<'_>> = locks
            .iter()
            .zip(&roots)
            .map(|(lock, root)| LockTold {
                wanted: &lock.wanted,
                is_deep: lock.is_deep,
                // A second that has begun is left, too.
                seconds: (lock.until.saturating_duration_since(now) + Duration::from_millis(999))
                    .as_secs(),
                token: &lock.token,
                root,
            })
            .collect();
        xml::lock_discovery(&told)
    }

    pub(super) fn unlock(&self) -> Outcome {
        let token = value(&self.head, "lock-token").map(str::trim);
        let token = token.and_then(|token| token.strip_prefix('<')?.strip_suffix('>'));
        let token = token.ok_or_else(|| Error::Protocol("it is not said which lock".into()))?;
        self.user.changes(&self.path)?;
        if !self.visit.web.locks.release(self.account(), &self.path, token) {
            let text = "there is no such lock";
            let status = StatusCode::CONFLICT;
            let told = as_xml(status, xml::error("lock-token-matches-request-uri", ""));
            return Err(Refusal::of(status, Code::Changed, text).saying(told));
        }
        Ok(StatusCode::NO_CONTENT.into())
    }
}

/// How long a lock is to last: the first time of those that its program would like.
fn timeout(header: Option<&str>) -> Duration {
    let first = header.and_then(|text| text.split(',').next()).map(str::trim);
    match first {
        Some(text) if text.eq_ignore_ascii_case("infinite") => LONGEST,
        Some(text) => {
            let seconds = text.strip_prefix("Second-").and_then(|digits| digits.parse().ok());
            seconds.map_or(USUAL, |seconds| {
                Duration::from_secs(seconds).clamp(Duration::from_secs(1), LONGEST)
            })
        }
        None => USUAL,
    }
}

/// Random bytes in the form of a UUID (RFC 9562, version 4).
fn uuid(random: &[u8; 16]) -> String {
    let mut bits = u128::from_be_bytes(*random);
    bits = bits & !(0xf << 76) | 4 << 76;
    bits = bits & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let [a, b, c, d, e] = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_lasts_as_long_as_is_asked_for_within_limits() {
        for (header, seconds) in [
            (None, 600),
            (Some("Second-30"), 30),
            (Some("Infinite, Second-4100000000"), 3600),
            (Some("Second-4100000000, Infinite"), 3600),
            (Some("Second-0"), 1),
            (Some("nonsense"), 600),
        ] {
            assert_eq!(timeout(header).as_secs(), seconds, "{header:?}");
        }
    }

    #[test]
    fn a_token_has_the_form_of_a_uuid() {
        assert_eq!(uuid(&[0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(&[0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
