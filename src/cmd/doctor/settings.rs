//! The client's configuration, the files that only their owner may read, and the servers that are known.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::folders::Folders;
use super::report::{Level, Report};
use crate::cmd::client::identity::KnownServers;
use crate::cmd::client::password::Source;
use crate::cmd::client::settings::{
    Common, Settings, config, config_place, from_home, named_server,
};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::io::reason;

/// Looks at the configuration; gives what it comes to, if it can be used.
pub(super) fn check(common: &Common, report: &mut Report<'_>) -> Result<Option<Settings>, Stop> {
    let Some(place) = config_place(report.env()) else {
        let fix = "Set HOME or PALK_CONFIG.";
        report.found(
            "config",
            Level::Risk,
            "HOME is not set, so there is no place for a configuration file",
            fix,
        )?;
        return resolved(common, report);
    };
    let shown = place.display();
    match config(report.env()) {
        Ok(None) => {
            let text = format!("there is no {shown}, so the defaults hold");
            report.ok("config", format!("{text} (palk client config set makes one)"))?;
        }
        Ok(Some(config)) => {
            let used = match config.named(common) {
                Some(name) => format!("profile {name} is used"),
                None => "no profile is used".to_owned(),
            };
            report.ok("config", format!("{shown}: {used}"))?;
        }
        Err(failure) => {
            unusable(&failure, report)?;
            return Ok(None);
        }
    }
    let settings = resolved(common, report)?;
    check_known(report)?;
    Ok(settings)
}

fn resolved(common: &Common, report: &mut Report<'_>) -> Result<Option<Settings>, Stop> {
    match Settings::resolve(common, report.env()) {
        Ok(settings) => Ok(Some(settings)),
        Err(failure) => {
            unusable(&failure, report)?;
            Ok(None)
        }
    }
}

/// With such a configuration no verb of the client does anything.
fn unusable(failure: &Failure, report: &mut Report<'_>) -> Result<(), Stop> {
    let fix = failure.hint.as_deref().unwrap_or("Correct it:  palk client config show");
    report.found("config", Level::Unavailable, &failure.text, fix)
}

/// Is the server named, by an option, the environment or the profile?
pub(super) fn names_server(common: &Common, env: &Env) -> bool {
    named_server(common, env).is_ok_and(|server| server.is_some())
}

fn check_known(report: &mut Report<'_>) -> Result<(), Stop> {
    let known = match KnownServers::open(report.env()) {
        Ok(known) => known,
        Err(failure) => {
            let fix = failure.hint.unwrap_or_default();
            return report.found("pins", Level::Fail, failure.text, fix);
        }
    };
    let place = known.place().display();
    let mistakes = known.mistakes();
    for (line, why) in &mistakes {
        let text = format!("{place} line {line}: {why}");
        report.found("pins", Level::Fail, text, "Correct that line, or remove it.")?;
    }
    match known.count() {
        _ if !mistakes.is_empty() => Ok(()),
        0 => report.ok(
            "pins",
            "no server is known yet; the first sign-in or palk client trust remembers one",
        ),
        1 => report.ok("pins", format!("1 server is known in {place}")),
        count => report.ok("pins", format!("{count} servers are known in {place}")),
    }
}

/// Looks whether others may read or change what is the user's alone.
pub(super) fn check_secrets(
    folders: &Folders,
    settings: Option<&Settings>,
    report: &mut Report<'_>,
) -> Result<(), Stop> {
    let mut secrets = folders.secrets();
    let mut writable = Vec::new();
    let env = report.env();
    if let Some(key) = env.variable("PALK_KEY") {
        secrets.push(env.at(Path::new(&key)));
    }
    if let Some(place) = config_place(env).map(|place| env.at(&place)) {
        let tokens = place.with_file_name("tokens");
        for server in children(&tokens) {
            secrets.extend(children(&server));
            secrets.push(server);
        }
        secrets.push(tokens);
        writable = vec![place.clone(), place.with_file_name("known_servers")];
    }
    let profiles = config(env).ok().flatten().unwrap_or_default().profile;
    let files = profiles.values().filter_map(|profile| profile.password_file.as_ref());
    let mut missing = Vec::new();
    for file in files {
        let path = env.at(&from_home(file, env));
        match fs::File::open(&path) {
            Ok(_) => secrets.push(path),
            Err(error) => missing.push((path, reason(&error))),
        }
    }
    if let Some(Source::File(path)) = settings.and_then(|settings| settings.password.as_ref()) {
        secrets.push(env.at(path));
    }
    secrets.sort();
    secrets.dedup();
    let wrong = |mask: u32, paths: &[PathBuf]| -> Vec<(PathBuf, u32)> {
        let modes = paths.iter().filter_map(|path| Some((path.clone(), mode(path)?)));
        modes.filter(|(_, mode)| mode & mask != 0).collect()
    };
    let seen = secrets.iter().filter(|path| mode(path).is_some()).count();
    let mut open = 0;
    for (path, mode) in wrong(0o077, &secrets) {
        open += 1;
        let own = if path.is_dir() { "700" } else { "600" };
        let text = format!("{} is open to others (mode {mode:04o})", path.display());
        report.found("secrets", Level::Risk, text, format!("chmod {own} {}", quoted(&path)))?;
    }
    for (path, mode) in wrong(0o022, &writable) {
        open += 1;
        let text = format!("others may write to {} (mode {mode:04o})", path.display());
        report.found("secrets", Level::Risk, text, format!("chmod go-w {}", quoted(&path)))?;
    }
    for (path, why) in &missing {
        let text = format!("a profile's password_file {} cannot be read: {why}", path.display());
        let fix = "Make it, or name another:  palk client config set password_file FILE";
        report.found("secrets", Level::Risk, text, fix)?;
    }
    match (seen, open) {
        (0, 0) => report.ok("secrets", "there are none: no saved sign-in, password file or key"),
        (_, 0) => {
            report.ok("secrets", "passwords, sign-ins, keys and folders are their owner's alone")
        }
        _ => Ok(()),
    }
}

/// What is in a folder, if it can be looked into.
fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o777)
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    shlex::try_quote(&text).map_or_else(|_| text.clone().into_owned(), |quoted| quoted.into_owned())
}
