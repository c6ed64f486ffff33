//! How somebody gets into a session: by the server's questions, or by what was given beforehand.

use super::{Next, Running};
use crate::cmd::client::advice;
use crate::cmd::client::connection::{Another, by_saved, sign_in_failed};
use crate::cmd::env::Asked;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::remote::{Remote, Said, is_secret};

impl Running<'_> {
    /// Has the server ask again, on this connection or, if it is lost, on another.
    pub(super) fn questions(&mut self) -> Result<Said, Error> {
        self.begin_anew();
        if self.remote.borrow().is_usable() {
            let asked = self.remote.borrow_mut().ask();
            match asked {
                // A server that closes after a sign-out is as good as one that waits.
                Err(error) if error.code() == Code::Unreachable => {}
                other => return other,
            }
        }
        let (remote, said) = Remote::connect_and_ask(self.settings.target())?;
        *self.remote.borrow_mut() = remote;
        Ok(said)
    }

    /// Shows what the server says and sends what the user answers until the user is in.
    pub(super) fn sign_in(&mut self, mut said: Said) -> Result<Next, Stop> {
        loop {
            if !said.text.is_empty() {
                self.env.data(&printable_lines(&said.text))?;
            }
            if said.is_welcome() {
                self.settings.was_used(&self.remote.borrow(), self.env);
                return Ok(Next::Operations);
            }
            if said.questions.is_empty() {
                let failure = Failure::new(Code::SignIn, "the server did not let you in");
                return Err(failure.hint("Its log says why.").into());
            }
            let Some(answers) = self.ask_all(&said)? else {
                return self.leave_unanswered(&said);
            };
            self.remember(&said.questions, &answers);
            let next = self.remote.borrow_mut().answer(&answers);
            said = next.map_err(|error| advice::plain(&error))?;
        }
    }

    pub(super) fn sign_in_as_given(&mut self) -> Result<Next, Stop> {
        let user = self.settings.user.clone().unwrap_or_default();
        if let Some(saved) = self.settings.saved(self.env)?
            && by_saved(&mut self.remote.borrow_mut(), &self.settings, &saved, self.env)?
        {
            self.settings.was_used(&self.remote.borrow(), self.env);
            self.again = Some(Another::by_saved(self.settings.clone(), saved));
            self.env.data(&format!("Signed in as {}", printable(&user)))?;
            return Ok(Next::Operations);
        }
        let password = self.settings.password(&user, self.env)?;
        let failed = |error| sign_in_failed(&user, &error);
        self.remote.borrow_mut().sign_in(&user, &password).map_err(failed)?;
        self.again = Some(Another::by_password(self.settings.clone(), user.clone(), password));
        self.settings.was_used(&self.remote.borrow(), self.env);
        self.env.data(&format!("Signed in as {}", printable(&user)))?;
        Ok(Next::Operations)
    }

    /// Remembers user and password for further connections. They count only once somebody is in.
    fn remember(&mut self, questions: &[String], answers: &[String]) {
        let all = questions.iter().zip(answers);
        let (secret, open): (Vec<_>, Vec<_>) = all.partition(|(question, _)| is_secret(question));
        if let (Some((_, user)), Some((_, password))) = (open.first(), secret.first()) {
            let (settings, user) = (self.settings.clone(), (*user).clone());
            self.again = Some(Another::by_password(settings, user, (*password).clone()));
        }
    }

    fn ask_all(&mut self, said: &Said) -> Result<Option<Vec<String>>, Stop> {
        let mut answers = Vec::new();
        for question in &said.questions {
            let asked = if is_secret(question) { Asked::Secret } else { Asked::Answer };
            let Some(answer) = self.env.line(&printable(question), asked)? else { return Ok(None) };
            answers.push(answer);
        }
        Ok(Some(answers))
    }

    /// The input ended at the questions. A script whose sign-in was refused must not look like one
    /// that worked.
    fn leave_unanswered(&mut self, said: &Said) -> Result<Next, Stop> {
        if said.success || self.env.input_is_terminal() {
            return Ok(Next::Leave);
        }
        let failure = Failure::new(Code::SignIn, format!("not signed in: {}", said.text));
        Err(failure.hint("Check the user name and the password in the input.").into())
    }
}

/// A text of several lines, each safe to print.
fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}
