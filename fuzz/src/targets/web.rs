//! What comes over HTTP and is decoded here: the first byte says which part of a request the rest is.

use palk::core::types::VersionId;
use palk::core::wire::journal::{PROPERTIES_MAX, Property};
use palk::core::wire::keys::{AppKey, KeySecret};
use palk::core::wire::web::conditions::{self, Conditions, There, Verdict};
use palk::core::wire::web::{basic, cookie, date, dav, form, href, html, if_header};

pub(crate) fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match kind % 10 {
        0 => drop(basic::decode(&text)),
        1 => {
            if let Ok(path) = href::decode(&text) {
                let written = href::encode("", &path, false);
                assert_eq!(href::decode(&written).expect("an address of Palk's own"), path);
            }
            let _ = href::split(&text);
        }
        2 => {
            if let Ok(lists) = if_header::decode(&text) {
                assert!(lists.iter().all(|list| !list.conditions.is_empty()));
            }
        }
        3 => conditions(&text),
        4 => drop(dav::propfind(rest)),
        5 => {
            if let Ok(patches) = dav::proppatch(rest) {
                assert!(patches.len() <= PROPERTIES_MAX);
                patches.iter().for_each(|(name, property)| patch(name, property));
            }
        }
        6 => drop(dav::lock(rest)),
        7 => {
            if let Ok(form) = form::Form::decode(&text) {
                drop((form.get("at"), form.number::<u64>("offset")));
            }
            let address = format!("a={}&b=1", form::escaped(&text));
            let form = form::Form::decode(&address).expect("a form of Palk's own");
            assert_eq!(form.get("a"), Some(&*text));
        }
        8 => {
            if let Some((user, token)) = cookie::find(&text, "palk").and_then(cookie::decode) {
                assert_eq!(cookie::decode(&cookie::encode(user, &token)), Some((user, token)));
            }
            let page = html::fill("<p>{{a}}</p>", &[("a", &html::escaped(&text))]);
            assert_eq!(page.matches('<').count(), 2);
        }
        _ => {
            if let Some(ms) = date::parse(&text) {
                assert_eq!(date::parse(&date::http(ms)).unwrap_or(ms), ms);
            }
            if let Ok(key) = AppKey::decode(&text) {
                assert_eq!(AppKey::decode(&key.encode()).expect("a key of Palk's own"), key);
            }
            drop(text.parse::<KeySecret>());
        }
    }
}

/// What is kept is read again as the same.
fn patch(name: &dav::Name, property: &Property) {
    assert_eq!(dav::Name::of_kept(&property.name).as_ref(), Some(name));
    let Some(value) = &property.value else { return };
    let whole = format!(
        "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop>{value}</D:prop></D:set></D:propertyupdate>"
    );
    if whole.len() <= dav::XML_BYTES_MAX {
        let again = dav::proppatch(whole.as_bytes()).expect("XML of Palk's own");
        assert_eq!(again[0].1, *property);
    }
}

fn conditions(text: &str) {
    let tag = conditions::tag_of(VersionId([7; 16]));
    let there = There { tag: &tag, modified_ms: Some(784_111_777_000) };
    for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"] {
        let own = Conditions::of(|header| (header == name).then_some(text));
        assert_ne!(own.judge(Some(there), false), Verdict::NotModified);
        own.judge(None, true);
    }
    let _ = conditions::range(Some(text), None, there);
    let _ = conditions::range(Some("bytes=0-"), Some(text), there);
}
