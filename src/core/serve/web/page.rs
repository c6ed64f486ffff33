//! The page for people: what of it is the same for everybody. Static HTML, one style sheet, one script and
//! a picture, all of them a part of this program.
//!
//! The pages say to the browser that they are of this origin only: no script, style, picture or frame of
//! another one, and none that is written into the page itself.

use hyper::header::{self, HeaderName};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::session::redirect;
use super::{Visit, empty, not_allowed, set, status_of, value};
use crate::core::error::Error;
use crate::core::io::http::{self, Request, Response};
use crate::core::wire::web::conditions::{Conditions, There, Verdict};
use crate::core::wire::web::form;
use crate::core::wire::web::html::{escaped, fill};

/// Where the pages of folders are.
pub(super) const FOLDERS: &str = "/files/";

/// The page of how the cluster is.
pub(super) const STATUS: &str = "/status";

const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'; object-src 'none'";

const SIGN_IN: &str = include_str!("page/sign_in.html");
const FOLDER: &str = include_str!("page/folder.html");
const CLUSTER: &str = include_str!("page/status.html");
const FAILED: &str = include_str!("page/failed.html");

/// What the pages are made with: address, kind, content.
const ASSETS: [(&str, &str, &str); 4] = [
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/icons.svg", "image/svg+xml", include_str!("page/icons.svg")),
];

/// Is this the address of a page that people see once they have signed in? It is as it stands in an
/// address, so it leads to no other server and is no header of its own.
pub(super) fn is_shown_to(address: &str) -> bool {
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    is_plain && (address == STATUS || address.starts_with(FOLDERS))
}

/// A page of this origin.
fn html(status: StatusCode, text: String) -> Response {
    let mut response = http::text(status, text);
    set(&mut response, header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(&mut response, header::CONTENT_SECURITY_POLICY, POLICY);
    set(&mut response, header::CACHE_CONTROL, "no-store");
    guard(&mut response);
    response
}

/// No other page gets at this one, and none is told which one somebody comes from.
fn guard(response: &mut Response) {
    set(response, header::REFERRER_POLICY, "same-origin");
    set(response, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(response, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
}

pub(super) fn sign_in(status: StatusCode, values: &[(&str, &str)]) -> Response {
    html(status, fill(SIGN_IN, values))
}

/// A folder. The values are HTML already.
pub(super) fn folder(values: &[(&str, &str)]) -> Response {
    html(StatusCode::OK, fill(FOLDER, values))
}

/// Why something was not done, for people who have no script to tell it.
pub(super) fn failed(error: &Error) -> Response {
    let text = escaped(&error.to_string());
    html(status_of(error), fill(FAILED, &[("trouble", &text)]))
}

impl Visit {
    /// A part of the pages; `None` if there is none at this address.
    pub(super) fn asset(request: &Request) -> Option<Response> {
        let (_, kind, content) =
            ASSETS.iter().find(|(address, ..)| *address == request.uri().path())?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Some(not_allowed("GET, HEAD"));
        }
        let tag = format!("\"{}\"", &blake3::hash(content.as_bytes()).to_hex()[..32]);
        let there = There { tag: &tag, modified_ms: None };
        let asked =
            Conditions::of(|name| request.headers().get(name).and_then(|own| own.to_str().ok()));
        let mut response = match asked.judge(Some(there), true) {
            Verdict::Met => http::text(StatusCode::OK, *content),
            Verdict::NotModified => empty(StatusCode::NOT_MODIFIED),
            Verdict::Failed => empty(StatusCode::PRECONDITION_FAILED),
        };
        set(&mut response, header::ETAG, &tag);
        // It is asked for each time whether it is still so, as a new version of the program has others.
        set(&mut response, header::CACHE_CONTROL, "no-cache");
        set(&mut response, header::CONTENT_TYPE, kind);
        guard(&mut response);
        Some(response)
    }

    /// The way to the form, for whoever has not signed in; `None` for those who have.
    pub(super) fn ask_to_sign_in(&self, request: &Parts) -> Option<Response> {
        if value(request, "authorization").is_some() {
            return None;
        }
        match self.by_cookie(request) {
            Some(Ok(_)) => None,
            Some(Err(error)) if error.code() == crate::core::error::Code::TooFewNodes => {
                Some(failed(&error))
            }
            _ => {
                let next = request.uri.path_and_query().map_or(FOLDERS, |own| own.as_str());
                Some(redirect(&format!("/sign-in?next={}", form::escaped(next))))
            }
        }
    }

    /// `/`: to the form, or to the top folder.
    pub(super) fn front(&self, request: Request) -> Response {
        let (head, _) = request.into_parts();
        match self.ask_to_sign_in(&head) {
            Some(_) => redirect("/sign-in"),
            None => redirect(FOLDERS),
        }
    }

    /// The page of how the cluster is. It says nothing by itself: its script asks, and only an
    /// administrator is answered.
    pub(super) fn status_page(&self, request: Request) -> Response {
        let (head, _) = request.into_parts();
        self.ask_to_sign_in(&head).unwrap_or_else(|| html(StatusCode::OK, CLUSTER.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_has_a_script_or_a_style_of_its_own() {
        for page in [SIGN_IN, FOLDER, CLUSTER, FAILED] {
            for inline in
                ["<style", "style=", " onclick", " onload", "javascript:", "http:", "https:"]
            {
                assert!(!page.contains(inline), "{inline}");
            }
            assert_eq!(
                page.matches("<script").count(),
                page.matches("<script src=\"/page.js\"").count()
            );
        }
    }
}
