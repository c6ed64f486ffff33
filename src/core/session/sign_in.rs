//! Signing in: the specified conversation, and the extended session's `LGN`, `NEW` and `TOK`.
//!
//! ```text
//!            known user, right password
//!   Login --------------------------------------------> signed in
//!    ^ |  unknown user          YES           made         ^
//!    | +--------------> Create -----> Account -------------+
//!    | <-- anything else --+           ^  | passwords differ
//!    |                        taken    |  v                |
//!    | <-- badly formed (any)          Passwords ----------+
//! ```

use crate::core::error::{Code, Error, Result};
use crate::core::path::UserName;
use crate::core::session::say::{self, Manner};
use crate::core::session::scan::{self, Answer, Scan};
use crate::core::session::{Patience, Question, Session, State, Step, Waiting, text};
use crate::core::wire::extended::Request;
use crate::core::wire::lines::{self, MESSAGE_BYTES_MAX};

const BADLY_FORMATTED: &str = "Badly Formatted Message";

impl Question {
    fn items(&self) -> &'static [&'static str] {
        match self {
            Question::Login => &say::LOGIN,
            Question::Create => &say::CREATE,
            Question::Account => &say::ACCOUNT,
            Question::Passwords { .. } => &say::PASSWORDS,
        }
    }
}

impl Session {
    /// Takes the answer to the open question, if it has come.
    pub(super) fn take_answer(&mut self, question: &Question, silent: bool) -> Option<Patience> {
        let window = self.input.window();
        let scanned = match (question, self.manner) {
            // The client of 2020 knows no LGN: there it is a name like any other.
            (Question::Login, Manner::Specified | Manner::Extended) => scan::sign_in(window),
            _ => scan::answer(window, question.items().len()),
        };
        let (answer, used) = match scanned {
            Scan::Done(answer, used) => (answer, used),
            Scan::Grace(answer, used) if silent => (answer, used),
            Scan::Grace(..) if !self.input.is_over_limit() => return Some(Patience::Grace),
            Scan::Grace(..) | Scan::More => return self.more(),
        };
        self.input.consume(used);
        self.act_on_answer(question, answer);
        None
    }

    fn act_on_answer(&mut self, question: &Question, answer: Answer) {
        let fields = match answer {
            Answer::Short => return self.complain(BADLY_FORMATTED, Question::Login),
            Answer::Long => {
                self.reply_at_end = Some(self.manner.complaint(BADLY_FORMATTED, &say::LOGIN));
                self.state = State::Conversing(Question::Login);
                return;
            }
            Answer::SignIn { user, password } => vec![user, password],
            Answer::Items(items) => items,
        };
        let fields: Result<Vec<String>> =
            fields.into_iter().map(|field| text(field, "answer")).collect();
        let Ok(fields) = fields else {
            return self.complain("Badly Formatted Message", Question::Login);
        };
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        match (question, fields.as_slice()) {
            // Nobody is called nothing: enter was pressed once too often.
            (Question::Login, ["", _]) => self.complain(BADLY_FORMATTED, Question::Login),
            (Question::Login, [user, password]) => self.check_password(user, password),
            (Question::Create, ["YES"]) if !self.sign_up => {
                self.complain(&Error::SignUpClosed.to_string(), Question::Login);
            }
            (Question::Create, ["YES"]) => {
                self.send(self.manner.account_form());
                self.state = State::Conversing(Question::Account);
            }
            (Question::Create, _) => {
                self.send(self.manner.greeting());
                self.state = State::Conversing(Question::Login);
            }
            (Question::Account, [user, one, other]) => self.make_account(user, one, other),
            (Question::Passwords { user }, [one, other]) => self.make_account(user, one, other),
            // The scan answers with as many items as were asked for; were it ever otherwise:
            _ => self.complain(BADLY_FORMATTED, Question::Login),
        }
    }

    /// Says what was wrong and asks again.
    fn complain(&mut self, text: &str, question: Question) {
        self.send(self.manner.complaint(text, question.items()));
        self.state = State::Conversing(question);
    }

    fn check_password(&mut self, user: &str, password: &str) {
        let step = Step::SignIn { user: user.to_owned(), password: password.to_owned() };
        self.ask_loop(step, Waiting::SignIn);
    }

    fn make_account(&mut self, user: &str, password: &str, confirmed: &str) {
        if password != confirmed {
            let question = Question::Passwords { user: user.to_owned() };
            return self.complain("Passwords did not match...", question);
        }
        let step = Step::SignUp { user: user.to_owned(), password: password.to_owned() };
        self.ask_loop(step, Waiting::SignUp);
    }

    /// Takes `LGN`, `NEW` or `TOK` of the extended session; nothing else is answered yet.
    pub(super) fn take_extended_sign_in(&mut self) -> Option<Patience> {
        let Some(end) = self.input.end_of_message() else { return self.more() };
        let message = self.input.window()[..end].to_vec();
        self.input.consume(end);
        if ![&b"LGN\r\n"[..], b"NEW\r\n", b"TOK\r\n"]
            .iter()
            .any(|opcode| message.starts_with(opcode))
        {
            self.send(say::extended_failure(&Error::NotSignedIn));
            return None;
        }
        match decode(&message) {
            Ok(Request::SignIn { user, password }) => self.check_password(&user, &password),
            Ok(Request::SignUp { user, password }) => {
                self.make_account(&user, &password, &password);
            }
            Ok(Request::TokenSignIn { user, token }) => {
                self.ask_loop(Step::SignInByToken { user, token }, Waiting::SignIn);
            }
            Ok(_) => self.send(say::extended_failure(&Error::NotSignedIn)),
            Err(error) => self.send(say::extended_failure(&error)),
        }
        None
    }

    /// The outcome of [`Step::SignIn`] and [`Step::SignInByToken`]. Outside of the specified
    /// conversation, which has its texts, an unknown user and a wrong password look the same.
    pub fn signed_in(&mut self, outcome: Result<UserName>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::SignIn = waiting else { return self.misuse("nobody was signing in") };
        match outcome {
            Ok(user) => self.welcome(user),
            Err(Error::NoSuchUser(_) | Error::WrongPassword(_)) if !self.conversing => {
                self.stay_greeted(&Error::SignInRefused);
            }
            Err(error) if !self.conversing => self.stay_greeted(&error),
            Err(Error::NoSuchUser(_)) => {
                self.complain("Username does not exist in database!", Question::Create);
            }
            Err(Error::WrongPassword(user)) => {
                let text = format!("Password did not match username {user}");
                self.complain(&text, Question::Login);
            }
            Err(error) => self.complain(&error.to_string(), Question::Login),
        }
    }

    /// The outcome of [`Step::SignUp`].
    pub fn signed_up(&mut self, outcome: Result<UserName>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::SignUp = waiting else { return self.misuse("nobody was signing up") };
        match outcome {
            Ok(user) => self.welcome(user),
            Err(error) if !self.conversing => self.stay_greeted(&error),
            Err(Error::UserExists(_)) => {
                self.complain("Username already exists in database!", Question::Account);
            }
            Err(error) if error.code() == Code::BadPath => {
                self.complain(&error.to_string(), Question::Account);
            }
            Err(error) => self.complain(&error.to_string(), Question::Login),
        }
    }

    fn welcome(&mut self, user: UserName) {
        let welcome =
            if self.conversing { self.manner.welcome(&user) } else { say::signed_in(&user) };
        self.user = Some(user);
        self.reply(welcome);
    }

    fn stay_greeted(&mut self, error: &Error) {
        self.send(say::extended_failure(error));
        self.state = State::Greeted;
    }
}

/// Reads a message of the extended session.
pub(super) fn decode(message: &[u8]) -> Result<Request> {
    match lines::decode(message, MESSAGE_BYTES_MAX)? {
        Some((lines, _)) => Request::decode(&lines),
        None => Err(Error::Protocol("the message has no end".into())),
    }
}
