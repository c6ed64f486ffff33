//! Names and values as forms and addresses have them: `user=demo&password=a+b%26c`.

use crate::core::error::{Error, Result};
use crate::core::wire::web::href;

/// The most pairs in a form.
const PAIRS_MAX: usize = 5000;

/// What a form says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads it. How long it may be is a matter of whoever has received it.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a wrong escape, what is not UTF-8, or too many pairs.
    pub fn decode(text: &str) -> Result<Form> {
        let text_of = |part: &str| {
            let bad = || Error::Protocol("a form has a wrong escape".into());
            href::unescaped(&part.replace('+', " ")).ok_or_else(bad)
        };
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PAIRS_MAX {
                return Err(Error::Protocol(format!("a form has more than {PAIRS_MAX} values")));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((text_of(name)?, text_of(value)?));
        }
        Ok(Form(pairs))
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All values of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// A number; `None` if there is no value of this name.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is no number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let bad = |_| Error::Protocol(format!("{name} is no number"));
        self.get(name).map(|text| text.parse().map_err(bad)).transpose()
    }
}

/// A text as a value in an address has it.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read() {
        let form = Form::decode("user=d%C3%A9mo&name=a+b%26c&name=%2B&&x&n=17").unwrap();
        assert_eq!(form.get("user"), Some("démo"));
        assert_eq!(form.all("name").collect::<Vec<_>>(), ["a b&c", "+"]);
        assert_eq!((form.get("x"), form.get("y")), (Some(""), None));
        assert_eq!(form.number::<u64>("n").unwrap(), Some(17));
        assert_eq!(form.number::<u64>("y").unwrap(), None);
        assert!(form.number::<u64>("x").is_err() && form.number::<u8>("user").is_err());
        assert_eq!(Form::decode("").unwrap(), Form::default());
    }

    #[test]
    fn what_has_another_form_is_refused() {
        for wrong in ["a=%", "a=%4", "%zz=1", "a=%ff"] {
            assert!(Form::decode(wrong).is_err(), "{wrong}");
        }
        assert!(Form::decode(&"a&".repeat(PAIRS_MAX)).is_ok());
        assert!(Form::decode(&"a&".repeat(PAIRS_MAX + 1)).is_err());
    }

    #[test]
    fn a_value_is_read_as_it_is_written() {
        for value in ["", "/files/a b/?x=1&y#z", "é+%", "\r\n"] {
            let form = Form::decode(&format!("a={}&b", escaped(value))).unwrap();
            assert_eq!(form.get("a"), Some(value));
        }
    }
}
