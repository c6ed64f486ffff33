//! Paths in addresses: every byte but letters, digits and a few signs is `%` and two hex digits.

use std::fmt::Write;

use crate::core::error::{Error, Result};
use crate::core::path::FolderPath;

/// The path of a file or folder that an address names, below where they begin; one `/` at its end is let
/// pass.
///
/// # Errors
/// [`Error::BadPath`] if it leads elsewhere or is no path; [`Error::Protocol`] if it is not UTF-8.
pub fn decode(path: &str) -> Result<FolderPath> {
    let bad = || Error::Protocol("the address has a wrong escape".into());
    // A name that has one would be two.
    if path.as_bytes().windows(3).any(|three| three.eq_ignore_ascii_case(b"%2f")) {
        return Err(bad());
    }
    Ok(FolderPath::parse(&unescaped(path).ok_or_else(bad)?)?)
}

/// A text with its escapes taken for what they stand for; `None` if one is wrong, or it is not UTF-8.
pub(super) fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = digit().zip(digit())?;
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// A path as an address has it, behind what it begins with; with a `/` at its end for a folder.
pub fn encode(root: &str, path: &FolderPath, is_folder: bool) -> String {
    let mut href = root.to_owned();
    for byte in path.as_str().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => href.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'/' | b'!' | b'$' | b'(' | b')' | b'*' | b',' | b'='
            | b'@' => href.push(char::from(byte)),
            // A string takes everything.
            byte => drop(write!(href, "%{byte:02X}")),
        }
    }
    if is_folder && !href.ends_with('/') {
        href.push('/');
    }
    href
}

/// Host and path of the address in a header `Destination` or `If`: `https://host/dav/a` or `/dav/a`.
pub fn split(address: &str) -> Option<(Option<&str>, &str)> {
    let address = address.trim();
    let address = address.split(['?', '#']).next().unwrap_or(address);
    if address.starts_with('/') {
        return Some((None, address));
    }
    let (scheme, rest) = address.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Some((Some(host), if path.is_empty() { "/" } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_read_from_an_address() {
        for (address, path) in
            [("", ""), ("a%20b/c", "a b/c"), ("a/", "a"), ("%C3%A9", "é"), ("100%25", "100%")]
        {
            assert_eq!(decode(address).unwrap().as_str(), path, "{address}");
        }
        for wrong in ["..", "a/%2e%2e/b", "a%2Fb", "%", "%4", "%zz", "%ff", "/a", "a//b", "a%00"] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_taken_apart() {
        assert_eq!(split("https://h:1/dav/a?x#y"), Some((Some("h:1"), "/dav/a")));
        assert_eq!(split(" /dav/a "), Some((None, "/dav/a")));
        assert_eq!(split("http://h"), Some((Some("h"), "/")));
        for wrong in ["", "dav/a", "ftp://h/a"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_path_is_read_as_it_is_written(text in "[a-zé &%+?#<>'\";:]{1,9}(/[a-z€ ]{1,5}){0,3}") {
            if let Ok(path) = FolderPath::parse(&text) {
                let href = encode("", &path, false);
                prop_assert!(href.bytes().all(|byte| byte.is_ascii_graphic()), "{href}");
                prop_assert!(!href.contains(['<', '>', '"', '\'', '&']));
                prop_assert_eq!(decode(&href).unwrap(), path);
            }
        }
    }
}
