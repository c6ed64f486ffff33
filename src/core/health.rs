//! Is a node up, late or down? Decided from what was heard of it, without a clock of its own.
//!
//! ```text
//!               answers                    connection refused or broken
//!     Unknown ──────────> Up ───────────────────────────────> Down
//!        │               ^ ^ │                                │ ^
//!        │       in time │ │ │ a deadline passes      answers │ │ connection refused
//!        │               │ │ v                                │ │ or broken
//!        └──────────> Probation <──> Late <───────────────────┘ │
//!                     answers, but         └──────────────────────┘
//!                     was late again
//! ```
//!
//! No user's request waits for a node that is not up: only the probe talks to it until it answers. An
//! answer to a probe says little about a node's disk. So one that was late is taken back at once the
//! first time, and is on probation for longer and longer when it is late again soon after. Each time that
//! it then writes to its disk and answers in time makes its probation shorter.

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
    /// It answers, but was late more than once of late. It is used where there are too few others.
    Probation,
    /// Its connection was refused or broke.
    Down,
}

/// How a talk with a node went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It answered.
    Answer,
    /// It has written to its disk, synced it and answered.
    Proof,
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
    /// How often it was late, each time soon after the last.
    lapses: u32,
    /// When it was late for the first of these times.
    first_lapse: Duration,
    /// When an answer makes it up again.
    trusted_from: Duration,
}

/// How long a node is on probation that was late for the second time; doubled each further time.
const PROBATION: Duration = Duration::from_secs(5);

/// The longest probation.
const PROBATION_MAX: Duration = Duration::from_secs(60);

/// What one proof takes off a probation.
const PROOF_WORTH: Duration = Duration::from_secs(2);

/// A node that was in time for so long after its probation has made up for it.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

impl Health {
    /// Nothing heard yet. Times are counted from the start of the process.
    pub fn unknown(now: Duration) -> Health {
        Health {
            state: State::Unknown,
            since: now,
            why: "not connected yet".into(),
            lapses: 0,
            first_lapse: now,
            trusted_from: now,
        }
    }

    /// What is believed now.
    pub fn state(&self) -> State {
        self.state
    }

    /// May requests be sent to it?
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Does it answer, though it is not trusted yet?
    pub fn is_on_probation(&self) -> bool {
        self.state == State::Probation
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
        let was_up = self.is_up();
        if heard == Heard::Proof {
            self.trusted_from = self.trusted_from.saturating_sub(PROOF_WORTH);
        }
        let (state, why) = match heard {
            Heard::Answer | Heard::Proof if !was_up && now < self.trusted_from => {
                (State::Probation, self.why_on_probation(now))
            }
            Heard::Answer | Heard::Proof => (State::Up, String::new()),
            Heard::Silence(why) => {
                if was_up || self.is_on_probation() {
                    self.note_lapse(now);
                }
                (State::Late, why)
            }
            Heard::Refusal(why) => {
                // What comes next is another process, or another way to it.
                (self.lapses, self.trusted_from) = (0, now);
                (State::Down, why)
            }
        };
        if self.state != state {
            self.state = state;
            self.since = now;
        }
        self.why = why;
        was_up != self.is_up()
    }

    fn why_on_probation(&self, now: Duration) -> String {
        let seconds = now.saturating_sub(self.first_lapse).as_secs() + 1;
        let left = self.trusted_from.saturating_sub(now).as_secs() + 1;
        let period = match seconds / 60 {
            0 | 1 => format!("{seconds} seconds"),
            minutes => format!("{minutes} minutes"),
        };
        format!(
            "it was late {} times in {period}: left out for another {left} s at most, while there are \
             three others",
            self.lapses
        )
    }

    fn note_lapse(&mut self, now: Duration) {
        let is_forgiven = now >= self.trusted_from + FORGIVEN_AFTER;
        self.lapses = if is_forgiven { 1 } else { self.lapses + 1 };
        if self.lapses == 1 {
            self.first_lapse = now;
        }
        let probation = match self.lapses {
            1 => Duration::ZERO,
            more => PROBATION.saturating_mul(1 << (more - 2).min(16)).min(PROBATION_MAX),
        };
        self.trusted_from = now + probation;
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

    #[test]
    fn a_node_that_is_late_again_and_again_is_trusted_later_and_later() {
        let at = Duration::from_secs;
        let late = || Heard::Silence("no answer within 5 s".into());
        let mut health = Health::unknown(at(100));
        health.hear(Heard::Answer, at(100));
        health.hear(late(), at(101));
        assert!(health.hear(Heard::Answer, at(102)), "the first time it is trusted at once");
        health.hear(late(), at(103));
        health.hear(late(), at(104));
        assert!(!health.hear(Heard::Answer, at(107)) && health.is_on_probation());
        assert!(health.why().contains("late 2 times"), "{}", health.why());
        assert!(health.hear(Heard::Answer, at(108)), "5 s after it was late");
        health.hear(late(), at(109));
        assert!(!health.hear(Heard::Answer, at(118)));
        health.hear(late(), at(118));
        assert!(!health.hear(Heard::Answer, at(137)), "late on probation counts as well");
        assert!(health.hear(Heard::Answer, at(138)));
        // In time for long enough, and all is as in the beginning.
        health.hear(late(), at(198));
        assert!(health.hear(Heard::Answer, at(199)));
        // A process that was started again is not to blame for the one before it.
        health.hear(late(), at(200));
        health.hear(Heard::Refusal("connection refused".into()), at(201));
        assert!(health.hear(Heard::Answer, at(202)));
    }

    #[test]
    fn proofs_that_a_disk_works_make_a_probation_shorter() {
        let late_five_times = || {
            let mut health = Health::unknown(Duration::ZERO);
            for minute in 0..5 {
                health.hear(Heard::Answer, Duration::from_secs(50 * minute));
                health.hear(Heard::Silence(String::new()), Duration::from_secs(50 * minute + 40));
            }
            health
        };
        let left_out = |heard: Heard| {
            let mut health = late_five_times();
            let probes = (480..).map(|half| Duration::from_millis(500 * half));
            probes.take_while(|now| !health.hear(heard.clone(), *now)).count() / 2
        };
        assert_eq!((left_out(Heard::Answer), left_out(Heard::Proof)), (40, 8));
        let mut health = late_five_times();
        health.hear(Heard::Answer, Duration::from_secs(250));
        assert_eq!(
            health.why(),
            "it was late 5 times in 3 minutes: left out for another 31 s at most, while there are three \
             others"
        );
    }

    #[test]
    fn probation_has_an_end() {
        let mut health = Health::unknown(Duration::ZERO);
        let mut now = Duration::ZERO;
        for _ in 0..100 {
            health.hear(Heard::Answer, now);
            health.hear(Heard::Silence(String::new()), now);
        }
        now += PROBATION_MAX;
        assert!(health.hear(Heard::Answer, now));
    }
}
