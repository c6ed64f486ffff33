//! `palk client config show`. A password is never shown, and of a command only its first word: what
//! follows may be one.

use serde_json::json;

use crate::cmd::client::password::Source as Password;
use crate::cmd::client::settings::{Common, Profile, Settings, config, config_place};
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::path::printable;

/// Who says that a value holds.
enum Origin {
    /// This option.
    Flag(&'static str),
    /// This variable.
    Environment(&'static str),
    /// This file, or this profile of the configuration file.
    File(String),
    /// Nobody.
    Default,
}

impl Origin {
    fn kind(&self) -> &'static str {
        match self {
            Origin::Flag(_) => "flag",
            Origin::Environment(_) => "environment",
            Origin::File(_) => "file",
            Origin::Default => "default",
        }
    }

    fn from(&self) -> &str {
        match self {
            Origin::Flag(name) | Origin::Environment(name) => name,
            Origin::File(name) => name,
            Origin::Default => "default",
        }
    }
}

/// A setting with its value.
struct Row {
    key: &'static str,
    value: Option<String>,
    origin: Origin,
}

pub(super) fn run(common: &Common, env: &mut Env) -> Result<(), Stop> {
    let rows = rows(common, env)?;
    for Row { key, value, origin } in &rows {
        if common.json {
            let (source, from) = (origin.kind(), origin.from());
            let object = json!({"key": key, "value": value, "source": source, "from": from});
            env.json("setting", object)?;
        } else {
            let value = printable(value.as_deref().unwrap_or("-"));
            env.data(&format!("{key:<12} {value:<32}  {}", printable(origin.from())))?;
        }
    }
    let place = config_place(env).map(|place| place.to_string_lossy().into_owned());
    match (common.json, place) {
        (true, place) => env.json("result", json!({"code": 0, "path": place})),
        (false, Some(place)) => {
            env.note(&format!("The configuration file is {}", printable(&place)));
            Ok(())
        }
        (false, None) => Ok(()),
    }
}

fn rows(common: &Common, env: &Env) -> Result<Vec<Row>, Stop> {
    let settings = Settings::resolve(common, env)?;
    let config = config(env)?.unwrap_or_default();
    let profile_name = config.named(common).map(str::to_owned);
    let profile = profile_name.as_ref().and_then(|name| config.profile.get(name)).cloned();
    let profile = profile.unwrap_or_default();
    let origins = Origins { env, profile: profile_name.as_deref() };
    let saved = settings.saved(env)?;
    let beside = |name: &str| {
        let place = config_place(env).unwrap_or_default().with_file_name(name);
        Origin::File(place.to_string_lossy().into_owned())
    };
    Ok(vec![
        Row {
            key: "profile",
            value: profile_name.clone(),
            origin: match common.profile {
                Some(_) => origins.given("--profile", "PALK_PROFILE"),
                None if profile_name.is_some() => Origin::File("default_profile".to_owned()),
                None => Origin::Default,
            },
        },
        Row {
            key: "server",
            value: Some(settings.server.clone()),
            origin: match common.server {
                Some(_) => origins.given("--server", "PALK_SERVER"),
                None => origins.profile(profile.server.is_some()),
            },
        },
        Row {
            key: "fingerprint",
            value: settings.fingerprint.map(|print| print.to_string()),
            origin: match (common.fingerprint, settings.fingerprint) {
                (Some(_), _) => origins.given("--fingerprint", "PALK_FINGERPRINT"),
                (None, Some(_)) if settings.fingerprint_is_given => origins.profile(true),
                (None, Some(_)) => beside("known_servers"),
                (None, None) => Origin::Default,
            },
        },
        Row {
            key: "user",
            value: settings.user.clone(),
            origin: match common.user {
                Some(_) => origins.given("--user", "PALK_USER"),
                None => origins.profile(profile.user.is_some()),
            },
        },
        Row {
            key: "password",
            value: settings.password.as_ref().map(shown),
            origin: match &settings.password {
                None => Origin::Default,
                Some(_) => origins.password(common, &profile),
            },
        },
        Row {
            key: "sign_in",
            value: saved.as_ref().map(|saved| format!("saved, of {}", saved.user)),
            origin: if saved.is_some() { beside("tokens") } else { Origin::Default },
        },
    ])
}

struct Origins<'a> {
    env: &'a Env,
    profile: Option<&'a str>,
}

impl Origins<'_> {
    /// Of what clap takes from an option or else from a variable.
    fn given(&self, flag: &'static str, variable: &'static str) -> Origin {
        let is_flag = |argument: &std::ffi::OsString| {
            let argument = argument.to_string_lossy();
            argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        match self.env.args().iter().any(is_flag) {
            true => Origin::Flag(flag),
            false => Origin::Environment(variable),
        }
    }

    fn profile(&self, says_so: bool) -> Origin {
        match self.profile {
            Some(name) if says_so => Origin::File(format!("profile {name}")),
            _ => Origin::Default,
        }
    }

    fn password(&self, common: &Common, profile: &Profile) -> Origin {
        let variable = |name| self.env.variable(name).is_some();
        match () {
            _ if common.password_stdin => Origin::Flag("--password-stdin"),
            _ if common.password_file.is_some() => Origin::Flag("--password-file"),
            _ if common.password_command.is_some() => Origin::Flag("--password-command"),
            _ if variable("PALK_PASSWORD_FILE") => Origin::Environment("PALK_PASSWORD_FILE"),
            _ if variable("PALK_PASSWORD_COMMAND") => Origin::Environment("PALK_PASSWORD_COMMAND"),
            _ => {
                self.profile(profile.password_file.is_some() || profile.password_command.is_some())
            }
        }
    }
}

fn shown(source: &Password) -> String {
    match source {
        Password::File(path) => format!("first line of {}", path.display()),
        Password::Command(command) => {
            let word = command.split_whitespace().next().unwrap_or_default();
            format!("output of {word} (arguments not shown)")
        }
        Password::StandardInput => "first line of standard input".to_owned(),
    }
}
