//! Tokens: what a client shows in place of a password once it has signed in with one.

use std::fmt;
use std::str::FromStr;

use crate::core::types::Digest;

/// 256 random bits that stand for a password. They travel and are kept as 64 hex digits, and are
/// never printed: [`fmt::Debug`] hides them, and there is no [`fmt::Display`].
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub [u8; 32]);

/// Where a token is used, in bytes: the longest name of a machine that is kept.
pub const MACHINE_BYTES_MAX: usize = 64;

impl Token {
    /// The token as it travels and is kept. To be handed to nobody but its owner.
    pub fn reveal(&self) -> String {
        Digest(self.0).to_string()
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Token, String> {
        text.parse::<Digest>().map(|digits| Token(digits.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_never_shown() {
        let token = Token([0xab; 32]);
        assert_eq!(token.reveal(), "ab".repeat(32));
        assert_eq!(token.reveal().parse::<Token>().unwrap(), token);
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        assert!("ab".parse::<Token>().is_err());
        assert!("zz".repeat(32).parse::<Token>().is_err());
    }
}
