//! `palk client config set KEY VALUE`: one value of the configuration file. All else in the file stays as
//! it is, comments too, and the file is replaced whole or not at all.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value, value};

use super::no_place;
use crate::cmd::client::local::replace_config;
use crate::cmd::client::settings::{
    Common, config, config_mistake, config_place, from_home, with_port,
};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::io::net::check_address;
use crate::core::io::reason;
use crate::core::path::UserName;
use crate::core::types::Fingerprint;

/// The profile that is made where the file has none.
const FIRST_PROFILE: &str = "default";

/// Set a value in the configuration file; an empty one takes it out
///
/// It goes into the profile that --profile names, else into the file's default profile. A file without
/// profiles gets one, named "default", which is used from then on.
#[derive(Args, Debug)]
pub(super) struct Set {
    /// What to set; default_profile stands before all profiles
    #[arg(value_enum, value_name = "KEY")]
    key: Key,

    /// The new value: server is HOST:PORT, or "scan" for the only one in the network
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[value(rename_all = "snake_case")]
enum Key {
    Server,
    User,
    PasswordFile,
    PasswordCommand,
    Fingerprint,
    DefaultProfile,
}

impl Key {
    fn name(self) -> &'static str {
        match self {
            Key::Server => "server",
            Key::User => "user",
            Key::PasswordFile => "password_file",
            Key::PasswordCommand => "password_command",
            Key::Fingerprint => "fingerprint",
            Key::DefaultProfile => "default_profile",
        }
    }

    /// What must not be set at the same time.
    fn rival(self) -> Option<&'static str> {
        match self {
            Key::PasswordFile => Some("password_command"),
            Key::PasswordCommand => Some("password_file"),
            _ => None,
        }
    }

    /// Why this is no value for it, if it is none.
    fn check(self, value: &str) -> Result<(), String> {
        match self {
            Key::Server if value == "scan" => Ok(()),
            Key::Server => check_address(&with_port(value.to_owned())).map_err(|e| e.to_string()),
            Key::User => UserName::parse(value).map(drop).map_err(|error| error.to_string()),
            Key::PasswordCommand => match shlex::split(value) {
                Some(words) if !words.is_empty() => Ok(()),
                _ => Err("its quotes do not match".to_owned()),
            },
            Key::Fingerprint => value.parse::<Fingerprint>().map(drop),
            Key::PasswordFile | Key::DefaultProfile => Ok(()),
        }
    }
}

impl Set {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let name = self.key.name();
        if !self.value.is_empty() {
            self.key.check(&self.value).map_err(|why| {
                let failure = Failure::new(Code::Usage, format!("cannot set {name}: {why}"));
                failure.hint("Nothing was changed. See:  palk client config set --help")
            })?;
        }
        let place = env.at(&config_place(env).ok_or_else(no_place)?);
        // What is wrong with the file as it is would be wrong with the new one.
        let profile = self.profile(common, env)?;
        let failed = |error: &io::Error| {
            let text = format!("cannot write {}: {}", place.display(), reason(error));
            Failure::new(Code::LocalFile, text).hint("Check the file and its folder.")
        };
        let text = match fs::read_to_string(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| failed(&error))?,
        };
        let (text, removed) = self.edited(&text, profile.as_deref()).map_err(|why| {
            let text = format!("cannot change {}: {why}", place.display());
            Failure::new(Code::Usage, text).hint("Change it with an editor.")
        })?;
        let folder = place.parent().unwrap_or(Path::new("/"));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.and_then(|()| replace_config(&place, &text)).map_err(|error| failed(&error))?;
        if common.json {
            let object = json!({"code": 0, "key": name, "profile": profile, "path": place});
            return env.json("result", object);
        }
        let whose = profile.map_or(String::new(), |profile| format!(" of profile {profile}"));
        let what = if self.value.is_empty() { "Took out" } else { "Set" };
        env.note(&format!("{what} {name}{whose} in {}", place.display()));
        if let Some(rival) = removed {
            env.note(&format!("  {rival} is taken out: only one of the two can hold."));
        }
        if let Some(remark) = self.remark(env) {
            env.note(&format!("  {remark}"));
        }
        Ok(())
    }

    /// The profile that is changed; `None` for what stands before all profiles.
    fn profile(&self, common: &Common, env: &Env) -> Result<Option<String>, Failure> {
        // A file that is named and not there yet is made, like the usual one.
        let place = config_place(env).map(|place| env.at(&place));
        let config = match place.is_some_and(|place| place.exists()) {
            true => config(env)?.unwrap_or_default(),
            false => Default::default(),
        };
        if self.key == Key::DefaultProfile {
            let is_there = self.value.is_empty() || config.profile.contains_key(&self.value);
            let missing = || {
                let text =
                    format!("cannot set default_profile: there is no profile {:?}", self.value);
                let hint = format!(
                    "Begin it:  palk client config set server HOST:PORT --profile {}",
                    self.value
                );
                Failure::new(Code::Usage, text).hint(hint)
            };
            return is_there.then_some(None).ok_or_else(missing);
        }
        match config.named(common) {
            Some(name) => Ok(Some(name.to_owned())),
            None if config.profile.is_empty() => Ok(Some(FIRST_PROFILE.to_owned())),
            None => {
                let names: Vec<&str> = config.profile.keys().map(String::as_str).collect();
                let text = format!("cannot set {}: no profile is named", self.key.name());
                let hint = format!("There are: {}. Name one:  --profile NAME", names.join(", "));
                Err(Failure::new(Code::Usage, text).hint(hint))
            }
        }
    }

    /// The file's text with the new value, and what had to be taken out for it.
    fn edited(
        &self,
        text: &str,
        profile: Option<&str>,
    ) -> Result<(String, Option<&'static str>), String> {
        let no_table = |name: &str| format!("{name:?} is no table there");
        let mut document: DocumentMut =
            text.parse().map_err(|error: toml_edit::TomlError| error.message().to_owned())?;
        let mut removed = None;
        match profile {
            None => self.put(document.as_table_mut()),
            Some(name) => {
                let is_first = document.get("profile").is_none();
                let profiles = document.entry("profile").or_insert_with(|| {
                    let mut table = Table::new();
                    table.set_implicit(true);
                    Item::Table(table)
                });
                let profiles = profiles.as_table_like_mut().ok_or_else(|| no_table("profile"))?;
                let table = profiles.entry(name).or_insert_with(|| Item::Table(Table::new()));
                let table = table.as_table_like_mut().ok_or_else(|| no_table(name))?;
                self.put(table);
                if let Some(rival) = self.key.rival().filter(|_| !self.value.is_empty()) {
                    removed = table.remove(rival).map(|_| rival);
                }
                if is_first && name == FIRST_PROFILE && document.get("default_profile").is_none() {
                    document.insert("default_profile", value(name));
                }
            }
        }
        let text = document.to_string();
        match config_mistake(&text) {
            None => Ok((text, removed)),
            Some((line, why)) => Err(format!("line {line} would be wrong: {why}")),
        }
    }

    /// Puts the value into a table, with the comments around the former one.
    fn put(&self, table: &mut dyn TableLike) {
        let name = self.key.name();
        if self.value.is_empty() {
            table.remove(name);
            return;
        }
        match table.get_mut(name).and_then(Item::as_value_mut) {
            Some(former) => {
                let decor = former.decor().clone();
                *former = Value::from(&self.value);
                *former.decor_mut() = decor;
            }
            None => drop(table.insert(name, value(&self.value))),
        }
    }

    /// What the user should know about a password's file.
    fn remark(&self, env: &Env) -> Option<String> {
        if self.key != Key::PasswordFile || self.value.is_empty() {
            return None;
        }
        let path = from_home(&PathBuf::from(&self.value), env);
        match fs::metadata(env.at(&path)) {
            Err(error) => Some(format!("It cannot be read yet: {}", reason(&error))),
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                Some(format!("Others can read it:  chmod 600 {}", path.display()))
            }
            Ok(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(key: Key, value: &str, text: &str, profile: Option<&str>) -> String {
        Set { key, value: value.to_owned() }.edited(text, profile).unwrap().0
    }

    #[test]
    fn all_else_in_the_file_stays_as_it_is() {
        let text = "# mine\ndefault_profile = 'a' # why\n\n[profile.a] # home\nserver = 'h:1'   # old\n\
                    user = 'ann'\n\n[profile.b]\nuser = 'bob'\n";
        assert_eq!(edited(Key::Server, "h:2", text, Some("a")), text.replace("'h:1'", "\"h:2\""));
        assert_eq!(edited(Key::User, "", text, Some("a")), text.replace("user = 'ann'\n", ""));
        assert_eq!(edited(Key::DefaultProfile, "b", text, None), text.replace("'a' #", "\"b\" #"));
        let longer = edited(Key::User, "eve", text, Some("c"));
        assert_eq!(longer, format!("{text}\n[profile.c]\nuser = \"eve\"\n"));
    }

    #[test]
    fn a_new_file_gets_a_profile_that_is_used() {
        let text = edited(Key::Server, "h:1", "", Some(FIRST_PROFILE));
        assert_eq!(text, "default_profile = \"default\"\n\n[profile.default]\nserver = \"h:1\"\n");
    }

    #[test]
    fn of_the_two_sources_of_a_password_one_holds() {
        let text = "[profile.a]\npassword_file = 'x'\n";
        let set = Set { key: Key::PasswordCommand, value: "pass palk".into() };
        let (text, removed) = set.edited(text, Some("a")).unwrap();
        assert_eq!(text, "[profile.a]\npassword_command = \"pass palk\"\n");
        assert_eq!(removed, Some("password_file"));
    }

    #[test]
    fn values_are_checked() {
        for (key, right, wrong) in [
            (Key::Server, "::1", "http://h:1"),
            (Key::Server, "scan", "h:x"),
            (Key::User, "ann", "a/b"),
            (Key::PasswordCommand, "pass 'a b'", "pass 'a"),
            (Key::Fingerprint, &"ab".repeat(32), "ab"),
        ] {
            assert_eq!(key.check(right), Ok(()), "{right}");
            assert!(key.check(wrong).is_err(), "{wrong}");
        }
    }
}
