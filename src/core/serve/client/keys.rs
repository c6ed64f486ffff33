//! What the client door does about app passwords.

use std::time::Instant;

use crate::core::error::Result;
use crate::core::serve::client::Connection;
use crate::core::serve::files::{Files, User};
use crate::core::serve::meter::Verb;
use crate::core::wire::keys::{AppKey, KeyRequest};

impl Connection<'_> {
    /// Answers a request about keys.
    pub(super) fn keys(&mut self, request: &KeyRequest) {
        let begun = Instant::now();
        let outcome = self.user().and_then(|user| answer(&self.door.files, user, request));
        let what = match request {
            KeyRequest::Make { .. } => "key made",
            KeyRequest::List => "keys listed",
            KeyRequest::Delete { .. } => "key deleted",
        };
        self.event(Verb::Token, what, begun).end(&outcome);
        self.session.history_told(outcome);
    }
}

fn answer(files: &Files, user: &User, request: &KeyRequest) -> Result<Vec<String>> {
    Ok(match request {
        KeyRequest::Make { name, rights } => {
            let (key, secret) = files.make_key(user, name, rights)?;
            vec![format!("key={key}"), format!("secret={}", secret.reveal())]
        }
        KeyRequest::List => files.keys(user)?.iter().map(AppKey::encode).collect(),
        KeyRequest::Delete { key } => files.delete_key(user, *key).map(|()| Vec::new())?,
    })
}
