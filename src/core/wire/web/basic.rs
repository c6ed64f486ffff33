//! `Authorization: Basic`: a user name and a password in base64 (RFC 7617).

/// The longest head that is looked at, in bytes: the longest password is much shorter.
const TEXT_BYTES_MAX: usize = 4096;

/// User and password out of the value of a header; `None` if it has another form.
pub fn decode(header: &str) -> Option<(String, String)> {
    let (scheme, text) = header.trim().split_once(' ')?;
    let text = text.trim();
    if !scheme.eq_ignore_ascii_case("basic") || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let pair = String::from_utf8(base64(text)?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Base64 with or without the `=` at its end.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | u32::from(value(*digit)?);
        }
        let [_, first, second, third] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        bytes.extend_from_slice(&[first, second, third][..group.len() - 1]);
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.to_owned(), password.to_owned()))
    }

    #[test]
    fn user_and_password_are_read() {
        assert_eq!(decode("Basic ZGVtbzpjb3JyZWN0IGhvcnNl"), pair("demo", "correct horse"));
        assert_eq!(decode("basic  dGVzdDoxMjPCow=="), pair("test", "123£"));
        assert_eq!(decode("Basic dGVzdDoxMjPCow"), pair("test", "123£"));
        assert_eq!(decode("Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(decode("Basic Og=="), pair("", ""));
    }

    #[test]
    fn what_has_another_form_is_none() {
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Basic YQ==",
            "Basic /w==",
            "Basic Y",
            "Basic Og===",
            "Basic O g=",
            "Bearer Og==",
        ] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!(decode(&format!("Basic {}", "Og".repeat(4000))), None);
    }
}
