//! What the server says in its own sign-in conversation: `S`, `E` or `D`, perhaps a text, perhaps
//! a number of questions and the questions.
//!
//! Pure: lines in, a value out. The client asks the user exactly the questions that are there.

use crate::core::error::{Error, Result};
use crate::core::remote::disconnected;

/// A message of the sign-in conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// `S`: what was sent before was right. `E`: it was not.
    pub success: bool,
    /// What to show before the questions, if anything.
    pub text: String,
    /// What to ask, in order; each is the text to show.
    pub questions: Vec<String>,
}

impl Said {
    /// Is the user signed in with this message?
    pub fn is_welcome(&self) -> bool {
        self.success && self.questions.is_empty()
    }

    /// Reads the lines of a message.
    ///
    /// # Errors
    /// [`Code::Temporary`](crate::core::error::Code::Temporary) for a `D`, whose text is the
    /// reason; [`Error::Protocol`] if it is no such message.
    pub fn decode(message: &[String]) -> Result<Said> {
        let (kind, rest) = match message.split_first() {
            Some((kind, rest)) => (kind.as_str(), rest),
            None => ("", message),
        };
        if kind == "D" {
            return Err(disconnected(&rest.join(" ")));
        }
        if kind != "S" && kind != "E" {
            return Err(Error::Protocol("a question has an unknown form".into()));
        }
        // A text may look like a number: it counts as one only if so many lines follow it.
        let counts =
            |at: usize| rest.get(at).and_then(|n| n.parse().ok()) == Some(rest.len() - at - 1);
        let at = (0..rest.len().min(2)).find(|at| counts(*at)).unwrap_or(rest.len());
        let questions = rest.get(at + 1..).unwrap_or_default().to_vec();
        Ok(Said { success: kind == "S", text: rest[..at].join("\n"), questions })
    }
}

/// Must the answer to this question stay off the screen?
pub fn is_secret(question: &str) -> bool {
    question.contains("assword")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Result<Said> {
        Said::decode(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_form_of_the_conversation_is_read() {
        let greeting = said(&["S", "2", "Username: ", "Password: "]).unwrap();
        assert_eq!(greeting.questions, ["Username: ", "Password: "]);
        assert!(greeting.text.is_empty() && !greeting.is_welcome());
        let refusal = said(&["E", "Username does not exist in database!", "1", "New? "]).unwrap();
        assert_eq!(refusal.text, "Username does not exist in database!");
        assert_eq!(refusal.questions, ["New? "]);
        assert!(!refusal.success);
        let welcome = said(&["S", "Welcome demo! You are a legend..."]).unwrap();
        assert!(welcome.is_welcome());
        assert_eq!(welcome.text, "Welcome demo! You are a legend...");
        assert!(!said(&["E", "no"]).unwrap().is_welcome());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(said(&[]).is_err());
        assert!(said(&["HI", "2"]).is_err());
        let farewell = said(&["D", "too many sign-ins"]).unwrap_err();
        assert!(farewell.to_string().ends_with("too many sign-ins"));
    }

    #[test]
    fn a_text_that_is_a_number_stays_a_text() {
        assert_eq!(said(&["S", "7"]).unwrap().text, "7");
        assert_eq!(said(&["S"]).unwrap().text, "");
    }

    #[test]
    fn passwords_are_told_from_other_questions() {
        for secret in ["Password: ", "Enter password: ", "Confirm password: "] {
            assert!(is_secret(secret));
        }
        assert!(!is_secret("Enter Desired Username: "));
    }
}
