//! `palk client keys`: app passwords, each for one program.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::advice;
use super::connection::Connection;
use super::settings::Common;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::cmd::when;
use crate::core::error::{Code, Error};
use crate::core::path::{FolderPath, printable};
use crate::core::types::{KeyId, Moment};
use crate::core::wire::keys::{AppKey, Rights};

const AFTER_HELP: &str = "\
A key is a user name and a password for one program, say WebDAV on a phone: the program never learns the
account's own password, and is signed out at once when its key is deleted. Changing the account's password
deletes all keys.";

/// Make, list and delete app passwords, each for one program
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Keys {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Create(Create),
    List(List),
    Delete(Delete),
}

/// Make a key, and show its secret this once
#[derive(Args, Debug)]
struct Create {
    /// What it is for, to know it again in the list
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,

    /// For reading only
    #[arg(long)]
    read_only: bool,

    /// For this folder and what is in it only; the program sees it as its top folder
    #[arg(long, value_name = "FOLDER")]
    folder: Option<String>,
}

/// List the keys, the oldest first
#[derive(Args, Debug)]
struct List {}

/// Delete a key: the program that uses it is signed out
#[derive(Args, Debug)]
struct Delete {
    /// Its access key, as it is listed
    #[arg(value_name = "KEY")]
    key: String,
}

impl Keys {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        match self.what {
            What::Create(create) => create.run(common, env),
            What::List(List {}) => list(common, env),
            What::Delete(delete) => delete.run(common, env),
        }
    }
}

impl Create {
    fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let failed = |error: &Error| {
            let own =
                [(Code::InDoubt, "A key that did not arrive is of use to nobody: list them.")];
            advice::own_or_usual("cannot make a key", error, &own)
        };
        let folder = FolderPath::parse_rooted(&self.folder.unwrap_or_default());
        let folder = folder.map_err(|error| failed(&error.into()))?;
        let rights = Rights { read_only: self.read_only, folder };
        let mut connection = Connection::open(common, env)?;
        let made = connection.remote()?.make_key(&self.name, &rights);
        let (key, secret) = made.map_err(|error| failed(&error))?;
        if common.json {
            let all = json!({"code": 0, "access_key": key.to_string(), "secret": secret.reveal(),
                             "name": self.name, "read_only": rights.read_only,
                             "folder": format!("/{}", rights.folder.as_str())});
            return env.json("result", all);
        }
        env.data(&format!("access-key  {key}"))?;
        env.data(&format!("secret      {}", secret.reveal()))?;
        env.note("Use them as user name and password. The secret is not shown again.");
        Ok(())
    }
}

fn list(common: &Common, env: &mut Env) -> Result<(), Stop> {
    let keys = Connection::open(common, env)?.remote()?.keys();
    let keys = keys.map_err(|error| advice::failure("cannot list the keys", &error))?;
    if common.json {
        for key in &keys {
            env.json("item", object(key))?;
        }
        return env.json("result", json!({"code": 0, "keys": keys.len()}));
    }
    if keys.is_empty() {
        env.note("There are no keys. Make one:  palk client keys create");
        return Ok(());
    }
    env.data(&format!("{:20}  {:19}  {:19}  {:5}  for", "access-key", "made", "last used", "may"))?;
    keys.iter().try_for_each(|key| env.data(&row(key)))
}

impl Delete {
    fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let what = format!("cannot delete the key {}", printable(&self.key));
        let failed = |error: &Error| {
            let own = [(Code::NoSuchFile, "See which there are:  palk client keys list")];
            advice::own_or_usual(&what, error, &own)
        };
        let unknown = |_| failed(&Error::other(Code::NoSuchFile, "no key is called that"));
        let key: KeyId = self.key.parse().map_err(unknown)?;
        let mut connection = Connection::open(common, env)?;
        connection.remote()?.delete_key(key).map_err(|error| failed(&error))?;
        if common.json {
            return env.json("result", json!({"code": 0, "access_key": key.to_string()}));
        }
        env.note(&format!("Deleted the key {key}; whoever used it is signed out"));
        Ok(())
    }
}

fn shown(ms: i64) -> String {
    when::shown(Moment(ms.saturating_mul(1000)))
}

fn row(key: &AppKey) -> String {
    let used = if key.used_ms == key.created_ms { "never".to_owned() } else { shown(key.used_ms) };
    let may = if key.rights.read_only { "read" } else { "all" };
    let (made, name) = (shown(key.created_ms), printable(&key.name));
    let line =
        format!("{:20}  {made:19}  {used:19}  {may:5}  /{}  {name}", key.key, key.rights.folder);
    line.trim_end().to_owned()
}

fn object(key: &AppKey) -> Value {
    json!({"code": 0, "access_key": key.key.to_string(), "name": key.name,
           "read_only": key.rights.read_only,
           "folder": format!("/{}", key.rights.folder.as_str()),
           "created_ms": key.created_ms, "used_ms": key.used_ms})
}
