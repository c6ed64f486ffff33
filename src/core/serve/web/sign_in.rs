//! Who asks: user and password by `Basic`, with each request, or a browser's cookie (`session.rs`). A
//! password that was right is remembered for some minutes, so that not every request costs a hash that is
//! made to be slow.
//!
//! What is remembered is a keyed hash of both, never the password. It is good for no longer than what it
//! stands for: each request asks anew whether the account is there and the password or key still its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::header;
use hyper::http::request::Parts;
use parking_lot::Mutex;

use super::session::{PAGE_HEADER, is_of_page, is_safe};
use super::{Visit, refused, set};
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::Response;
use crate::core::io::random::Random;
use crate::core::serve::accounts::Origin;
use crate::core::serve::audit::Event;
use crate::core::serve::files::User;
use crate::core::serve::meter::{Entrance, Verb};
use crate::core::types::Digest;
use crate::core::wire::keys::KeySecret;
use crate::core::wire::web::basic;

/// How long a password that was right need not be looked at again.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// The most that are remembered.
const REMEMBERED_MAX: usize = 4096;

/// What a client is to show.
const CHALLENGE: &str = "Basic realm=\"Palk\", charset=\"UTF-8\"";

/// Users and passwords that were right.
pub(super) struct Remembered {
    /// Known to this process only.
    key: [u8; 32],
    users: Mutex<HashMap<Digest, (User, Instant)>>,
}

impl Default for Remembered {
    fn default() -> Remembered {
        Remembered { key: Random::from_system().secret(), users: Mutex::default() }
    }
}

impl Remembered {
    fn mark(&self, user: &str, password: &str) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(user.len() as u64).to_le_bytes());
        hasher.update(user.as_bytes());
        hasher.update(password.as_bytes());
        Digest(*hasher.finalize().as_bytes())
    }

    fn find(&self, mark: &Digest) -> Option<User> {
        let users = self.users.lock();
        let (user, until) = users.get(mark)?;
        (Instant::now() < *until).then(|| user.clone())
    }

    fn keep(&self, mark: Digest, user: User) {
        let mut users = self.users.lock();
        let now = Instant::now();
        if users.len() >= REMEMBERED_MAX {
            users.retain(|_, (_, until)| now < *until);
        }
        if users.len() >= REMEMBERED_MAX {
            // Whoever it is only has the password looked at once more.
            let any = users.keys().next().copied();
            any.and_then(|any| users.remove(&any));
        }
        users.insert(mark, (user, now + REMEMBERED));
    }

    fn forget(&self, mark: &Digest) {
        self.users.lock().remove(mark);
    }
}

impl Visit {
    /// Who asks, or what to answer instead.
    pub(super) fn sign_in(&self, request: &Parts) -> std::result::Result<User, Box<Response>> {
        let shown = request.headers.get(header::AUTHORIZATION);
        let shown =
            shown.and_then(|value| basic::decode(std::str::from_utf8(value.as_bytes()).ok()?));
        let Some((name, password)) = shown else {
            return self.check_cookie(request);
        };
        self.user(&name, &password).map_err(|error| {
            Box::new(match error {
                // Which of the two was wrong is nobody's business.
                Error::NoSuchUser(_) | Error::WrongPassword(_) | Error::SignInRefused => {
                    challenge(&Error::SignInRefused)
                }
                Error::TokenRefused | Error::PasswordChanged => challenge(&Error::SignInRefused),
                error => refused(&error),
            })
        })
    }

    /// The one who has signed in with a browser, if this is for it to ask.
    fn check_cookie(&self, request: &Parts) -> std::result::Result<User, Box<Response>> {
        match self.by_cookie(request) {
            Some(Ok(_)) if !is_safe(&request.method) && !is_of_page(request) => {
                let text = "this was asked for by another page than one of this server";
                Err(Box::new(refused(&Error::other(Code::NotAllowed, text))))
            }
            Some(Ok(user)) => Ok(user),
            // The page asks by itself who it is: without a challenge no browser does.
            Some(Err(error)) => Err(Box::new(refused(&error))),
            None if request.headers.contains_key(PAGE_HEADER) => {
                Err(Box::new(refused(&Error::NotSignedIn)))
            }
            None => Err(Box::new(challenge(&Error::NotSignedIn))),
        }
    }

    /// Looks at a password that somebody has typed on the page. It is not remembered.
    pub(super) fn check_password(&self, name: &str, password: &str) -> Result<User> {
        let begun = Instant::now();
        let outcome = self.web.files().sign_in(name, password, Origin::of(self.peer.ip()));
        self.log_sign_in(name, begun, &outcome);
        outcome.map(|user| self.coming(user)).map_err(|error| match error {
            // Which of the two was wrong is nobody's business.
            Error::NoSuchUser(_) | Error::WrongPassword(_) => Error::SignInRefused,
            error => error,
        })
    }

    fn log_sign_in(&self, name: &str, begun: Instant, outcome: &Result<User>) {
        let known = match outcome {
            Ok(user) => Some(user.name.clone()),
            Err(_) => self.web.files().accounts().known(name),
        };
        let meter = self.web.backend.meters.at(Entrance::Web);
        let event = Event::new(meter, Verb::SignIn, "signed in", self.peer, begun);
        Event { user: known.as_ref(), ..event }.end(outcome);
    }

    fn user(&self, name: &str, password: &str) -> Result<User> {
        let web = self.web;
        let mark = web.remembered.mark(name, password);
        if let Some(user) = web.remembered.find(&mark) {
            match web.files().check_standing(&user) {
                Ok(()) => return Ok(self.coming(user)),
                // It is looked at anew: the account may have got this very password again.
                Err(_) => web.remembered.forget(&mark),
            }
        }
        let begun = Instant::now();
        let by_key = password.parse::<KeySecret>().ok();
        let by_key = by_key.map(|secret| web.files().sign_in_by_key(name, &secret));
        let outcome = match by_key {
            Some(Err(Error::SignInRefused)) | None => {
                web.files().sign_in(name, password, Origin::of(self.peer.ip()))
            }
            Some(outcome) => outcome,
        };
        self.log_sign_in(name, begun, &outcome);
        let user = outcome?;
        web.remembered.keep(mark, user.clone());
        Ok(self.coming(user))
    }

    pub(super) fn coming(&self, user: User) -> User {
        user.coming_from(format!("web {}", self.peer))
    }
}

/// Asks for user and password.
fn challenge(error: &Error) -> Response {
    let mut response = refused(error);
    *response.status_mut() = hyper::StatusCode::UNAUTHORIZED;
    set(&mut response, header::WWW_AUTHENTICATE, CHALLENGE);
    response
}
