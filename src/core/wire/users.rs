//! What `palk admin user` asks a running server for, and how an account is told of.
//!
//! ```text
//!   {"v":1,"verb":"user","action":"quota","name":"demo","quota":{"bytes":1000000}}
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// A password on its way to the server. It is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

/// What is to be done with an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum UserAsk {
    /// List all accounts: an item for each, a [`UserLine`].
    List,
    /// Make one.
    Add {
        /// Whose.
        name: String,
        /// Its password.
        password: Secret,
    },
    /// Give it another password, and revoke its tokens.
    Passwd {
        /// Whose.
        name: String,
        /// The new password.
        password: Secret,
    },
    /// Let nobody sign in to it.
    Disable {
        /// Whose.
        name: String,
    },
    /// Let its user sign in again.
    Enable {
        /// Whose.
        name: String,
    },
    /// Remove it with its files.
    Remove {
        /// Whose.
        name: String,
    },
    /// Say how much it may store.
    Quota {
        /// Whose.
        name: String,
        /// How much.
        quota: Allowance,
    },
    /// Make it an administrator, or take that back.
    Admin {
        /// Which.
        name: String,
        /// May it see how the cluster is, and have it scrubbed and repaired?
        admin: bool,
    },
}

/// How much an account may store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allowance {
    /// What the server allows where nothing else is said.
    Default,
    /// As much as there is room for.
    Unlimited,
    /// So many bytes.
    Bytes(u64),
}

/// An account in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UserLine {
    /// Its name.
    pub name: String,
    /// `active`, `disabled` or `being removed`.
    pub state: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// How many files it has.
    pub files: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// What was said of how much it may store.
    pub quota: Allowance,
    /// What that comes to, in bytes; nothing for no limit.
    pub limit: Option<u64>,
    /// How many sign-ins are kept on clients' machines.
    pub tokens: u64,
    /// May it see how the cluster is, and have it scrubbed and repaired?
    #[serde(default)]
    pub admin: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wire::admin::Verb;

    #[test]
    fn every_action_survives_its_line_and_no_password_is_shown() {
        let (name, password) = (|| "demo".to_owned(), || Secret("hunter2".into()));
        for ask in [
            UserAsk::List,
            UserAsk::Add { name: name(), password: password() },
            UserAsk::Passwd { name: name(), password: password() },
            UserAsk::Disable { name: name() },
            UserAsk::Enable { name: name() },
            UserAsk::Remove { name: name() },
            UserAsk::Admin { name: name(), admin: true },
            UserAsk::Quota { name: name(), quota: Allowance::Default },
            UserAsk::Quota { name: name(), quota: Allowance::Unlimited },
            UserAsk::Quota { name: name(), quota: Allowance::Bytes(u64::MAX) },
        ] {
            let verb = Verb::User(ask);
            assert_eq!(Verb::decode(&verb.encode().unwrap()).unwrap(), verb);
            assert!(!format!("{verb:?}").contains("hunter2"));
        }
    }
}
