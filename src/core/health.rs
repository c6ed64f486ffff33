//! Is a node up, late or down? Decided from what was heard of it, without a clock of its own.
//!
//! ```text
//!               answers                    connection refused or broken
//!     Unknown ──────────> Up ───────────────────────────────> Down
//!        │                │ ^                                  │ ^
//!        │   a deadline   │ │ answers                  answers │ │ connection refused
//!        │     passes     v │                                  │ │ or broken
//!        └────────────> Late <─────────────────────────────────┘ │     (Down -> Up, too)
//!                         └──────────────────────────────────────┘
//! ```
//!
//! No user's request waits for a node that is not up: only the probe talks to it until it answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is believed of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing has been heard of it yet.
    Unknown,
    /// It answers.
    Up,
    /// It let a deadline pass: it hangs, or the network does.
    Late,
    /// Its connection was refused or broke.
    Down,
}

/// How a talk with a node went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It answered.
    Answer,
    /// It let a deadline pass, with the text that says which.
    Silence(String),
    /// It could not be reached, or broke the connection, with the reason.
    Refusal(String),
}

/// What is believed of one node, since when, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    state: State,
    since: Duration,
    why: String,
}

impl Health {
    /// Nothing heard yet. Times are counted from the start of the process.
    pub fn unknown(now: Duration) -> Health {
        Health { state: State::Unknown, since: now, why: "not connected yet".into() }
    }

    /// What is believed now.
    pub fn state(&self) -> State {
        self.state
    }

    /// May requests be sent to it?
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Since when, from the start of the process.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Why it is not up; empty if it is.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Takes in how a talk went; true if the belief changed between up and not up.
    pub fn hear(&mut self, heard: Heard, now: Duration) -> bool {
        let (state, why) = match heard {
            Heard::Answer => (State::Up, String::new()),
            Heard::Silence(why) => (State::Late, why),
            Heard::Refusal(why) => (State::Down, why),
        };
        let was_up = self.is_up();
        if self.state != state {
            self.state = state;
            self.since = now;
        }
        self.why = why;
        was_up != self.is_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_between_up_and_not_up_is_news() {
        let at = Duration::from_secs;
        let mut health = Health::unknown(at(0));
        assert!(!health.hear(Heard::Refusal("connection refused".into()), at(1)));
        assert!(health.hear(Heard::Answer, at(2)));
        assert!(!health.hear(Heard::Answer, at(3)));
        assert_eq!((health.state(), health.since()), (State::Up, at(2)));
        assert!(health.hear(Heard::Silence("no answer within 5 s".into()), at(4)));
        assert_eq!(health.why(), "no answer within 5 s");
        assert!(!health.hear(Heard::Refusal("connection refused".into()), at(5)));
        assert_eq!((health.state(), health.since()), (State::Down, at(5)));
        assert!(health.hear(Heard::Answer, at(6)));
        assert_eq!(health.why(), "");
    }
}
