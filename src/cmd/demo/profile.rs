//! A profile for the demo in the user's configuration file, so that `palk client --profile demo`
//! works in another terminal as long as the demo runs.
//!
//! Invariants: all else in the file stays byte for byte as it is; the file is replaced whole or not
//! at all; a profile that is somebody's own, or that of a demo which still runs, is left alone and
//! another name is taken. A demo's profile is known by its password file, which lies in the demo's
//! folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use super::resources::{FOLDER_PREFIX, is_running};
use crate::cmd::client::local::replace_config;
use crate::core::io::reason;
use crate::core::types::Fingerprint;

/// How many names are tried.
const NAMES_MAX: usize = 100;

const REMARK: &str = "\n# Made by palk demo, which removes it when it ends.\n";

/// A profile that was saved.
pub(super) struct Profile {
    config: PathBuf,
    name: String,
    password_file: String,
    /// The file was not there before.
    new_file: bool,
    /// Folders that were made for it, innermost first.
    new_folders: Vec<PathBuf>,
}

impl Profile {
    /// Saves a profile.
    ///
    /// # Errors
    /// Why it could not be, as a line to print.
    pub(super) fn save(
        config: &Path,
        server: &str,
        user: &str,
        password_file: &Path,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Profile, String> {
        let failed =
            |error: io::Error| format!("cannot write {}: {}", config.display(), reason(&error));
        let password_file = password_file.to_str().ok_or("the demo's folder is not UTF-8 text")?;
        let (text, new_file) = match fs::read_to_string(config) {
            Ok(text) => (text, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), true),
            Err(error) => return Err(failed(error)),
        };
        let fingerprint = fingerprint.map(Fingerprint::to_string);
        let (text, name) = with_profile(&text, [server, user, password_file], fingerprint)
            .map_err(|why| format!("cannot add to {}: {why}", config.display()))?;
        let new_folders = make_folders(config).map_err(failed)?;
        let profile = Profile {
            config: config.to_owned(),
            name,
            password_file: password_file.to_owned(),
            new_file,
            new_folders,
        };
        replace_config(config, &text).map_err(failed)?;
        Ok(profile)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Removes it, if it still is what was saved, and the file if there was none before.
    ///
    /// # Errors
    /// Why it could not be, as a line to print.
    pub(super) fn remove(&self) -> Result<(), String> {
        let failed = |error: io::Error| {
            let place = self.config.display();
            format!("cannot remove profile {} from {place}: {}", self.name, reason(&error))
        };
        let text = match fs::read_to_string(&self.config) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let Some(text) = without_profile(&text, &self.name, &self.password_file) else {
            return Ok(()); // somebody has changed or removed it: it is theirs
        };
        if !self.new_file || !text.trim().is_empty() {
            return replace_config(&self.config, &text).map_err(failed);
        }
        fs::remove_file(&self.config).map_err(failed)?;
        for folder in &self.new_folders {
            // Where others have put something meanwhile, it stays.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// Makes the folders that the file needs; gives those that were made, innermost first.
fn make_folders(config: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = config.ancestors().skip(1);
    let missing = missing.take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    for folder in missing.iter().rev() {
        fs::create_dir(folder)?;
    }
    Ok(missing)
}

/// The text with a profile of server, user and password file more, and the profile's name.
fn with_profile(
    text: &str,
    settings: [&str; 3],
    fingerprint: Option<String>,
) -> Result<(String, String), String> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| error.message().to_owned())?;
    let profiles = document.entry("profile").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let profiles = profiles.as_table_like_mut().ok_or("\"profile\" is no table there")?;
    let names = (1..=NAMES_MAX).map(|number| match number {
        1 => "demo".to_owned(),
        number => format!("demo-{number}"),
    });
    let name = names.into_iter().find(|name| is_free(profiles, name));
    let name = name.ok_or("there are too many profiles of demos")?;
    let mut profile = Table::new();
    for (key, setting) in ["server", "user", "password_file"].into_iter().zip(settings) {
        profile.insert(key, value(setting));
    }
    if let Some(fingerprint) = fingerprint {
        profile.insert("fingerprint", value(fingerprint));
    }
    profile.decor_mut().set_prefix(REMARK);
    profiles.remove(&name);
    profiles.insert(&name, Item::Table(profile));
    let mut text = document.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok((text, name))
}

/// Is there no profile of this name, or only that of a demo which has ended?
fn is_free(profiles: &dyn TableLike, name: &str) -> bool {
    let Some(profile) = profiles.get(name) else { return true };
    let folder = password_file(profile).and_then(|file| Path::new(file).parent());
    folder.is_some_and(|folder| {
        let name = folder.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(FOLDER_PREFIX) && !is_running(folder)
    })
}

fn password_file(profile: &Item) -> Option<&str> {
    profile.as_table_like()?.get("password_file")?.as_str()
}

/// The text without the profile; nothing if it is not there, or not the same any more.
fn without_profile(text: &str, name: &str, file: &str) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let profiles = document.get_mut("profile")?.as_table_like_mut()?;
    if password_file(profiles.get(name)?) != Some(file) {
        return None;
    }
    profiles.remove(name);
    if profiles.is_empty() && document["profile"].as_table().is_some_and(Table::is_implicit) {
        document.remove("profile");
    }
    Some(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [&str; 3] = ["h:1", "demo", "/tmp/palk-demo-nowhere/password"];

    #[test]
    fn all_else_in_the_file_stays_as_it_is() {
        for text in [
            "",
            "# mine\n",
            "default_profile = 'home' # here\n\n[profile.home]  # the server\nserver='x'\n\n# end\n",
            "[profile]\nhome = { server = 'x' }\n",
            "profile = { home = { server = 'x' } }\n",
        ] {
            let (with, name) = with_profile(text, SETTINGS, None).unwrap();
            assert_eq!(name, "demo");
            let read: toml::Table = with.parse().unwrap();
            assert_eq!(read["profile"]["demo"]["server"].as_str(), Some("h:1"), "{with}");
            assert_eq!(without_profile(&with, &name, SETTINGS[2]).as_deref(), Some(text), "{with}");
            assert_eq!(without_profile(&with, &name, "/other"), None);
        }
        assert!(with_profile("a = ", SETTINGS, None).is_err());
        assert!(with_profile("profile = 1", SETTINGS, None).is_err());
    }

    #[test]
    fn a_profile_of_somebodys_own_is_left_alone() {
        let text = "[profile.demo]\nserver = 'mine'\n";
        let (with, name) = with_profile(text, SETTINGS, None).unwrap();
        assert_eq!(name, "demo-2");
        // One that a killed demo has left is taken over.
        let (again, name) = with_profile(&with, ["h:2", "demo", SETTINGS[2]], None).unwrap();
        assert_eq!(name, "demo-2");
        assert!(again.starts_with(text) && again.contains("h:2") && !again.contains("h:1"));
    }

    #[test]
    fn a_file_that_was_made_goes_again_with_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("a/b/config.toml");
        let profile = Profile::save(&config, "h:1", "demo", Path::new("/p"), None).unwrap();
        assert!(fs::read_to_string(&config).unwrap().contains("[profile.demo]"));
        profile.remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        profile.remove().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_a_mode_a_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("config.toml"));
        fs::write(&real, "# mine\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let profile = Profile::save(&link, "h:1", "demo", Path::new("/p"), None).unwrap();
        profile.remove().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "# mine\n");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
