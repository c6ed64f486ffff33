//! What the operator can do with accounts: the facade behind `palk admin user`.

use std::sync::Arc;

use crate::core::catalog::{Quota, UserRecord};
use crate::core::error::{Error, Result};
use crate::core::path::{UserName, printable};
use crate::core::serve::files::Files;
use crate::core::serve::operator::Caller;
use crate::core::wire::admin::{Answer, Fields, fields};
use crate::core::wire::users::{Allowance, UserAsk, UserLine};

/// The accounts, for the operator of the server.
pub struct Users {
    files: Arc<Files>,
}

impl Users {
    /// The accounts behind these files.
    pub fn new(files: Arc<Files>) -> Users {
        Users { files }
    }

    /// All accounts, sorted by name.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn list(&self) -> Result<Vec<UserRecord>> {
        self.files.cluster.catalog.users()
    }

    /// How many bytes an account with this quota may store; `None` if there is no limit.
    pub fn limit(&self, quota: Quota) -> Option<u64> {
        self.files.usage.limit(quota)
    }

    /// Makes an account, also where nobody may sign up.
    ///
    /// # Errors
    /// [`UserExists`](crate::core::error::Error::UserExists); or the password cannot be one.
    pub fn add(&self, name: &UserName, password: &str) -> Result<()> {
        self.files.add_account(name, password)?;
        tracing::info!("operator made the account {name}");
        Ok(())
    }

    /// Gives an account another password and revokes all of its tokens. Sessions that were begun
    /// with a token end at their next request.
    ///
    /// # Errors
    /// [`NoSuchUser`](crate::core::error::Error::NoSuchUser); or the password cannot be one.
    pub fn set_password(&self, name: &UserName, password: &str) -> Result<()> {
        self.files.may_change()?;
        self.files.accounts().set_password(name, password)?;
        tracing::info!("operator changed the password of {name}");
        Ok(())
    }

    /// Lets nobody sign in to an account any more; sessions end at their next request. The files
    /// stay.
    ///
    /// # Errors
    /// [`NoSuchUser`](crate::core::error::Error::NoSuchUser).
    pub fn disable(&self, name: &UserName) -> Result<()> {
        let user = name.clone();
        self.files.change(move |draft| draft.set_disabled(&user, true))?;
        tracing::info!("operator disabled the account {name}");
        Ok(())
    }

    /// Takes back [`Users::disable`].
    ///
    /// # Errors
    /// [`NoSuchUser`](crate::core::error::Error::NoSuchUser).
    pub fn enable(&self, name: &UserName) -> Result<()> {
        let user = name.clone();
        self.files.change(move |draft| draft.set_disabled(&user, false))?;
        tracing::info!("operator enabled the account {name}");
        Ok(())
    }

    /// Makes an account an administrator, who sees how the cluster is on the web page and can have it
    /// scrubbed and repaired there, or takes that back. It counts from the next request on.
    ///
    /// # Errors
    /// [`NoSuchUser`](crate::core::error::Error::NoSuchUser).
    pub fn set_admin(&self, name: &UserName, admin: bool) -> Result<()> {
        let user = name.clone();
        self.files.change(move |draft| draft.set_admin(&user, admin))?;
        tracing::info!("operator made {name} an administrator: {admin}");
        Ok(())
    }

    /// Says how much an account may store. Files that are there stay, also if they are more.
    ///
    /// # Errors
    /// [`NoSuchUser`](crate::core::error::Error::NoSuchUser).
    pub fn set_quota(&self, name: &UserName, quota: Quota) -> Result<()> {
        let user = name.clone();
        self.files.change(move |draft| draft.set_quota(&user, quota))?;
        tracing::info!("operator set the quota of {name}: {quota:?}");
        Ok(())
    }

    /// Removes an account with its tokens, folders and files. Its name can be had again at once.
    ///
    /// # Errors
    /// [`NoSuchUser`](crate::core::error::Error::NoSuchUser).
    pub fn remove(&self, name: &UserName) -> Result<()> {
        let user = name.clone();
        self.files.change(move |draft| draft.remove_user(&user))?;
        self.files.cluster.notifier.notify();
        tracing::info!("operator removed the account {name}");
        Ok(())
    }

    /// Does what was asked for through the admin door.
    ///
    /// # Errors
    /// Those of the action; or the name cannot be one.
    pub fn carry_out(&self, ask: &UserAsk, caller: &mut dyn Caller) -> Result<Answer> {
        match ask {
            UserAsk::List => {
                for user in self.list()? {
                    caller.item(fields(&self.line(&user))?);
                }
            }
            UserAsk::Add { name, password } => self.add(&UserName::parse(name)?, &password.0)?,
            UserAsk::Passwd { name, password } => self.set_password(&known(name)?, &password.0)?,
            UserAsk::Disable { name } => self.disable(&known(name)?)?,
            UserAsk::Enable { name } => self.enable(&known(name)?)?,
            UserAsk::Quota { name, quota } => self.set_quota(&known(name)?, from_wire(*quota))?,
            UserAsk::Admin { name, admin } => self.set_admin(&known(name)?, *admin)?,
            UserAsk::Remove { name } => self.remove(&known(name)?)?,
        }
        Ok(Answer { code: 0, fields: Fields::new() })
    }

    fn line(&self, user: &UserRecord) -> UserLine {
        UserLine {
            name: user.name.to_string(),
            state: user.state.to_string(),
            created_ms: user.created_ms,
            files: user.files,
            bytes: user.bytes,
            quota: match user.quota {
                Quota::Default => Allowance::Default,
                Quota::Unlimited => Allowance::Unlimited,
                Quota::Bytes(bytes) => Allowance::Bytes(bytes),
            },
            limit: self.limit(user.quota),
            tokens: user.tokens,
            admin: user.is_admin,
        }
    }
}

/// The name of an account that is said to be there.
fn known(name: &str) -> Result<UserName> {
    UserName::parse(name).map_err(|_| Error::NoSuchUser(printable(name)))
}

fn from_wire(quota: Allowance) -> Quota {
    match quota {
        Allowance::Default => Quota::Default,
        Allowance::Unlimited => Quota::Unlimited,
        Allowance::Bytes(bytes) => Quota::Bytes(bytes),
    }
}
