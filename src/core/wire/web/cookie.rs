//! Cookies: what a browser shows with each request once somebody has signed in.
//!
//! ```text
//!   Cookie: other=1; palk=demo:0123...ef        the account, and a token of 64 hex digits
//! ```

use crate::core::wire::token::Token;

/// The value of a cookie among those of a header; the first one of this name.
pub fn find<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// The value of the cookie for somebody who has signed in. To be handed to nobody but its owner.
pub fn encode(user: &str, token: &Token) -> String {
    format!("{user}:{}", token.reveal())
}

/// Reads such a value; `None` if it has another form.
pub fn decode(value: &str) -> Option<(&str, Token)> {
    let (user, token) = value.split_once(':')?;
    Some((user, token.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        assert_eq!(find("a=1; palk=2;b=3", "palk"), Some("2"));
        assert_eq!(find("palk=a=b", "palk"), Some("a=b"));
        for other in ["", "palk", "xpalk=1", "palk2=1; PALK=2", ";;="] {
            assert_eq!(find(other, "palk"), None, "{other}");
        }
    }

    #[test]
    fn what_it_stands_for_is_read_again() {
        let token = Token([7; 32]);
        let value = encode("demo", &token);
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)));
        assert_eq!(decode(&value), Some(("demo", token)));
        for wrong in ["", "demo", "demo:", "demo:12", ":", "demo:zz"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
