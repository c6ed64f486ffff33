//! People who have signed in on the page: a cookie with a token, as `palk client` keeps one in its file.
//!
//! ```text
//!   POST /sign-in   user, password ──> argon2 ──> a token of the account ──> Set-Cookie
//!   any request     Cookie ──> the token is looked up in the catalog ──> the account
//!   POST /sign-out  the token is revoked, the cookie taken back
//! ```
//!
//! Invariants:
//! - The cookie is `HttpOnly` and `SameSite=Strict`, and `Secure` unless the connection is plain.
//! - What the cookie alone may do is asked for by a page of this server: what changes something has to
//!   come with what no other page can send ([`is_of_page`]).
//! - A token is looked up with each request: one that was revoked, by signing out or by another password,
//!   counts from the next request on.

use std::collections::HashMap;

use hyper::body::Incoming;
use hyper::header;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use parking_lot::Mutex;

use super::asked::STRANGERS_BYTES_MAX;
use super::page::{self, is_shown_to};
use super::{Visit, body, empty, not_allowed, set, status_of, value};
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{Request, Response};
use crate::core::serve::accounts::secret_hash;
use crate::core::serve::files::User;
use crate::core::types::Digest;
use crate::core::wire::token::Token;
use crate::core::wire::web::form::Form;
use crate::core::wire::web::html::escaped;
use crate::core::wire::web::{cookie, href};

/// What scripts of the page send with each request. A page of another server would have to ask first
/// whether it may send it, and may not.
pub(super) const PAGE_HEADER: &str = "x-palk";

/// The cookie over TLS: a browser takes one of this name only if it is `Secure`, for this host and all of
/// its paths, so no other host can put one in its place.
const SECURE_COOKIE: &str = "__Host-palk";

/// The cookie where the connection is plain: not every browser keeps a `Secure` one then.
const PLAIN_COOKIE: &str = "palk";

/// How long a browser keeps the cookie of somebody who wants to stay signed in, in seconds. Without that it
/// forgets it when it is closed.
const STAY_SECONDS: u32 = 30 * 24 * 3600;

/// The longest form for signing in: every byte of the longest password may be escaped.
const SIGN_IN_BYTES_MAX: usize = 8 << 10;

/// How many are signed in at a time without a token in the catalog.
const PASSING_MAX: usize = 1024;

/// Sign-ins that the catalog could not take, as fewer than three nodes were there: they end with the
/// process. Files can still be read then, and nobody should be kept from that.
#[derive(Default)]
pub(super) struct Passing(Mutex<HashMap<Digest, User>>);

impl Passing {
    fn keep(&self, token: &Token, user: User) {
        let mut users = self.0.lock();
        if users.len() >= PASSING_MAX {
            // Whoever it is has to sign in again.
            let any = users.keys().next().copied();
            any.and_then(|any| users.remove(&any));
        }
        users.insert(secret_hash(&token.0), user);
    }

    fn find(&self, token: &Token) -> Option<User> {
        self.0.lock().get(&secret_hash(&token.0)).cloned()
    }

    fn end(&self, token: &Token) -> bool {
        self.0.lock().remove(&secret_hash(&token.0)).is_some()
    }
}

/// Does a request of this method change nothing?
pub(super) fn is_safe(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "PROPFIND")
}

/// Does a request come from a page of this server? Browsers say where a request comes from, and no page can
/// make them say something else. Where one says nothing, a header does that another page may not send.
pub(super) fn is_of_page(request: &Parts) -> bool {
    if let Some(site) = value(request, "sec-fetch-site") {
        return site == "same-origin";
    }
    match value(request, "origin") {
        Some(origin) => {
            let host = href::split(origin).and_then(|(host, _)| host);
            let own = value(request, "host");
            host.zip(own).is_some_and(|(host, own)| host.eq_ignore_ascii_case(own))
        }
        None => request.headers.contains_key(PAGE_HEADER),
    }
}

impl Visit {
    /// Does the browser reach this server by TLS? A proxy on this machine says so.
    fn is_secure(&self, request: &Parts) -> bool {
        self.is_encrypted || value(request, "x-forwarded-proto") == Some("https")
    }

    fn cookie(&self, request: &Parts) -> &'static str {
        if self.is_secure(request) { SECURE_COOKIE } else { PLAIN_COOKIE }
    }

    /// What a browser shows.
    fn shown<'a>(&self, request: &'a Parts) -> Option<(&'a str, Token)> {
        let name = self.cookie(request);
        let all = request.headers.get_all(header::COOKIE).iter();
        let mut values = all.filter_map(|own| cookie::find(own.to_str().ok()?, name));
        values.find_map(cookie::decode)
    }

    /// Who has signed in with a browser; `None` if nothing is shown.
    pub(super) fn by_cookie(&self, request: &Parts) -> Option<Result<User>> {
        let (name, token) = self.shown(request)?;
        let files = self.web.files();
        let found = match self.web.passing.find(&token) {
            Some(user) => files.check_standing(&user).map(|()| user),
            None => files.sign_in_by_token(name, &token),
        };
        Some(found.map(|user| self.coming(user)))
    }

    /// `/sign-in`: the form, and what was typed into it.
    pub(super) async fn sign_in_page(&self, request: Request) -> Response {
        let (head, mut body) = request.into_parts();
        match head.method {
            Method::GET | Method::HEAD => {
                let asked = Form::decode(head.uri.query().unwrap_or_default()).unwrap_or_default();
                form(StatusCode::OK, "", next_of(&asked), "")
            }
            Method::POST => match self.sign_in_with_form(&head, &mut body).await {
                Ok(response) => response,
                Err((error, asked)) => {
                    body::throw_away(&mut body, STRANGERS_BYTES_MAX).await;
                    let status = match error.code() {
                        Code::Version => StatusCode::BAD_REQUEST,
                        _ if matches!(error, Error::Throttled { .. }) => {
                            StatusCode::TOO_MANY_REQUESTS
                        }
                        _ => status_of(&error),
                    };
                    let user = asked.get("user").unwrap_or_default();
                    let mut response = form(status, user, next_of(&asked), &error.to_string());
                    if let Error::Throttled { seconds } = error {
                        set(&mut response, header::RETRY_AFTER, &seconds.to_string());
                    }
                    response
                }
            },
            _ => not_allowed("GET, HEAD, POST"),
        }
    }

    async fn sign_in_with_form(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> std::result::Result<Response, (Error, Form)> {
        let none = |error| (error, Form::default());
        if !is_of_page(head) {
            let text = "sign in on the page of this server itself";
            return Err(none(Error::other(Code::NotAllowed, text)));
        }
        let text = body::short(body, SIGN_IN_BYTES_MAX).await.map_err(none)?;
        let asked = Form::decode(&String::from_utf8_lossy(&text)).map_err(none)?;
        match self.sign_in_as(head, &asked) {
            Ok(response) => Ok(response),
            Err(error) => Err((error, asked)),
        }
    }

    fn sign_in_as(&self, head: &Parts, asked: &Form) -> Result<Response> {
        let field = |name| asked.get(name).unwrap_or_default();
        let user = self.check_password(field("user"), field("password"))?;
        let machine = format!("browser at {}", self.peer.ip());
        let files = self.web.files();
        let issued = files.may_change().and_then(|()| files.issue_token(&user, &machine));
        let token = match issued {
            Err(error) if error.code() == Code::TooFewNodes => {
                let token = Token(files.random.secret());
                self.web.passing.keep(&token, user.clone());
                token
            }
            issued => issued?,
        };
        let mut response = redirect(next_of(asked));
        let stays = asked.get("stay").is_some();
        let value = cookie::encode(user.name.as_str(), &token);
        self.set_cookie(&mut response, head, &value, stays.then_some(STAY_SECONDS));
        Ok(response)
    }

    /// `/sign-out`.
    pub(super) async fn sign_out(&self, request: Request) -> Response {
        let (head, mut body) = request.into_parts();
        body::throw_away(&mut body, STRANGERS_BYTES_MAX).await;
        if head.method != Method::POST {
            return not_allowed("POST");
        }
        if !is_of_page(&head) {
            let text = "this was asked for by another page than one of this server";
            return page::failed(&Error::other(Code::NotAllowed, text));
        }
        if let Err(error) = self.end_session(&head) {
            return page::failed(&error);
        }
        let mut response = redirect("/sign-in");
        self.set_cookie(&mut response, &head, "", Some(0));
        response
    }

    fn end_session(&self, head: &Parts) -> Result<()> {
        let Some((name, token)) = self.shown(head) else { return Ok(()) };
        if self.web.passing.end(&token) {
            return Ok(());
        }
        match self.web.files().sign_in_by_token(name, &token) {
            Ok(mut user) => {
                self.web.files().may_change()?;
                self.web.files().revoke_token(&mut user)
            }
            // It has ended already.
            Err(error) if matches!(error.code(), Code::SignIn | Code::Disabled) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives the browser a cookie, for so many seconds or until it is closed.
    fn set_cookie(&self, response: &mut Response, head: &Parts, value: &str, age: Option<u32>) {
        let name = self.cookie(head);
        let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict");
        if self.is_secure(head) {
            text.push_str("; Secure");
        }
        if let Some(seconds) = age {
            text.push_str(&format!("; Max-Age={seconds}"));
        }
        set(response, header::SET_COOKIE, &text);
    }
}

/// The form, and why it is shown again.
fn form(status: StatusCode, user: &str, next: &str, trouble: &str) -> Response {
    let trouble = match trouble {
        "" => String::new(),
        trouble => format!("<p class=\"trouble\" role=\"alert\">{}</p>", escaped(trouble)),
    };
    page::sign_in(
        status,
        &[("user", &escaped(user)), ("next", &escaped(next)), ("trouble", &trouble)],
    )
}

/// Where to go once somebody has signed in: a page of this server only.
fn next_of(asked: &Form) -> &str {
    let next = asked.get("next").unwrap_or_default();
    if is_shown_to(next) { next } else { page::FOLDERS }
}

/// An answer that leads to another page.
pub(super) fn redirect(to: &str) -> Response {
    let mut response = empty(StatusCode::SEE_OTHER);
    set(&mut response, header::LOCATION, to);
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Parts {
        let mut request = hyper::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn another_page_cannot_make_a_browser_say_that_it_is_ours() {
        const HOST: (&str, &str) = ("host", "palk.example:443");
        for (headers, expected) in [
            (&[HOST][..], false),
            (&[HOST, ("x-palk", "1")], true),
            (&[HOST, ("sec-fetch-site", "same-origin")], true),
            (&[HOST, ("sec-fetch-site", "same-site"), ("x-palk", "1")], false),
            (&[HOST, ("sec-fetch-site", "cross-site")], false),
            (&[HOST, ("sec-fetch-site", "none")], false),
            (&[HOST, ("origin", "https://palk.example:443")], true),
            (&[HOST, ("origin", "https://PALK.example:443")], true),
            (&[HOST, ("origin", "https://palk.example"), ("x-palk", "1")], false),
            (&[HOST, ("origin", "https://palk.example:443.evil.example")], false),
            (&[HOST, ("origin", "null")], false),
        ] {
            assert_eq!(is_of_page(&asked(headers)), expected, "{headers:?}");
        }
    }

    #[test]
    fn nobody_is_led_to_another_server() {
        let next = |text: &str| {
            let asked = Form::decode(&format!("next={text}")).unwrap();
            next_of(&asked).to_owned()
        };
        assert_eq!(next("/files/a%2520b/"), "/files/a%20b/");
        assert_eq!(next("/status"), "/status");
        for wrong in [
            "",
            "//evil.example/",
            "https://evil.example/",
            "/\\evil.example",
            "/files/%0d%0ax",
            "/dav/",
            "/files/%C3%A9",
        ] {
            assert_eq!(next(wrong), "/files/", "{wrong}");
        }
    }
}
