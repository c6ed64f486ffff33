//! App passwords, seen from the client.

use super::Remote;
use crate::core::error::Result;
use crate::core::types::KeyId;
use crate::core::wire::extended::{Request, field};
use crate::core::wire::keys::{AppKey, KeyRequest, KeySecret, Rights};

impl Remote {
    /// Has the server make a key of the user's. Its secret is told this once.
    ///
    /// # Errors
    /// [`Code::NotAllowed`](crate::core::error::Code::NotAllowed) if there are too many, and those of any
    /// change.
    pub fn make_key(&mut self, name: &str, rights: &Rights) -> Result<(KeyId, KeySecret)> {
        let (name, rights) = (name.to_owned(), rights.clone());
        let fields = self.change(&Request::Keys(KeyRequest::Make { name, rights }))?;
        let made = field(&fields, "key").and_then(|key| Ok((key, field(&fields, "secret")?)));
        self.keep(made)
    }

    /// The user's keys, the oldest first.
    ///
    /// # Errors
    /// Those of any request.
    pub fn keys(&mut self) -> Result<Vec<AppKey>> {
        let lines = self.lines_of(&Request::Keys(KeyRequest::List))?;
        let read = lines.iter().map(|line| AppKey::decode(line)).collect();
        self.keep(read)
    }

    /// Deletes a key: whoever uses it is signed out.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`](crate::core::error::Code::NoSuchFile) if there is no such key, and those of any
    /// change.
    pub fn delete_key(&mut self, key: KeyId) -> Result<()> {
        self.change(&Request::Keys(KeyRequest::Delete { key })).map(drop)
    }
}
