//! Saved sign-ins: the tokens that `palk client login` keeps, one file for each server and user.
//!
//! ```text
//!   ~/.config/palk/tokens/127.0.0.1%3A17777/demo      64 hex digits and the end of the line
//! ```
//!
//! The files and their folders are their owner's alone (0600, 0700), and a file is replaced whole or
//! not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::local::replace_file;
use super::settings::{Settings, config_place, is_absent, is_nobodys};
use crate::cmd::env::Env;
use crate::cmd::failure::Failure;
use crate::core::error::Code;
use crate::core::io::reason;
use crate::core::wire::token::Token;

/// What is longer than this is no token.
const TOKEN_FILE_BYTES_MAX: u64 = 1024;

/// A sign-in that was saved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SignIn {
    pub(super) user: String,
    pub(super) token: Token,
}

/// The saved sign-in for this server and user. If no user is named: the one there is, if there is
/// only one.
///
/// # Errors
/// [`Code::LocalFile`] if it cannot be read.
pub(super) fn find(settings: &Settings, env: &Env) -> Result<Option<SignIn>, Failure> {
    let Some(folder) = folder(&settings.server, env) else { return Ok(None) };
    let user = match &settings.user {
        Some(user) => user.clone(),
        None => match only_one(&folder) {
            Some(user) => user,
            None => return Ok(None),
        },
    };
    let place = folder.join(escaped(&user));
    let read = fs::metadata(&place).and_then(|there| match there.len() {
        0..=TOKEN_FILE_BYTES_MAX => fs::read_to_string(&place),
        _ => Ok(String::new()),
    });
    match read.map(|text| text.trim().parse()) {
        Ok(Ok(token)) => Ok(Some(SignIn { user, token })),
        // Somebody has written into it: it is as good as none.
        Ok(Err(_)) => Ok(None),
        Err(error) if is_nobodys(&error) => Ok(None),
        Err(error) => {
            let text = format!("cannot read {}: {}", place.display(), reason(&error));
            let hint = "Give a password with --password-file FILE, or remove that file.";
            Err(Failure::new(Code::LocalFile, text).hint(hint))
        }
    }
}

/// Saves a sign-in in the place of an older one. Gives the file.
///
/// # Errors
/// [`Code::LocalFile`] if it cannot be written.
pub(super) fn keep(server: &str, sign_in: &SignIn, env: &Env) -> Result<PathBuf, Failure> {
    let Some(folder) = folder(server, env) else {
        let failure = Failure::new(Code::LocalFile, "there is no place to save the sign-in");
        return Err(failure.hint("Set HOME, XDG_CONFIG_HOME or PALK_CONFIG."));
    };
    let place = folder.join(escaped(&sign_in.user));
    write(&folder, &place, &format!("{}\n", sign_in.token.reveal())).map_err(|error| {
        let text = format!("cannot write {}: {}", place.display(), reason(&error));
        Failure::new(Code::LocalFile, text).hint("Nothing was saved. Check that folder.")
    })?;
    Ok(place)
}

/// Removes a saved sign-in. That there is none is no failure.
///
/// # Errors
/// [`Code::LocalFile`] if it cannot be removed.
pub(super) fn forget(server: &str, user: &str, env: &Env) -> Result<(), Failure> {
    let Some(folder) = folder(server, env) else { return Ok(()) };
    let place = folder.join(escaped(user));
    match fs::remove_file(&place) {
        Err(error) if !is_absent(&error) => {
            let text = format!("cannot remove {}: {}", place.display(), reason(&error));
            Err(Failure::new(Code::LocalFile, text).hint("Remove it by hand."))
        }
        _ => {
            let _ = fs::remove_dir(&folder); // it stays while other users are in it
            Ok(())
        }
    }
}

/// Where the sign-ins for a server are.
fn folder(server: &str, env: &Env) -> Option<PathBuf> {
    let config = env.at(&config_place(env)?);
    Some(config.parent()?.join("tokens").join(escaped(server)))
}

/// A name that is one part of a path, whatever it was.
fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        // A dot in front would hide the file, or be `..`.
        if plain || (byte == b'.' && !out.is_empty()) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// The reverse of [`escaped`], for the names of users, which need no escape.
fn only_one(folder: &Path) -> Option<String> {
    let mut names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
    let (first, second) = (names.next()?, names.next());
    let name = first.into_string().ok()?;
    (second.is_none() && escaped(&name) == name).then_some(name)
}

fn write(folder: &Path, place: &Path, text: &str) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    replace_file(place, text, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::client::settings::Common;

    fn settings(user: Option<&str>, env: &Env) -> Settings {
        let server = Some("[::1]:5".to_owned());
        let common = Common { server, user: user.map(str::to_owned), ..Common::default() };
        Settings::resolve(&common, env).unwrap()
    }

    #[test]
    fn a_saved_sign_in_is_its_owners_alone_and_found_again() {
        let home = tempfile::tempdir().unwrap();
        let (mut env, _) = Env::fake(&[], "");
        assert_eq!(find(&settings(Some("demo"), &env), &env), Ok(None));
        env.set_variable("XDG_CONFIG_HOME", home.path());
        assert_eq!(find(&settings(Some("demo"), &env), &env), Ok(None));
        let sign_in = SignIn { user: "demo".into(), token: Token([7; 32]) };
        let place = keep("[::1]:5", &SignIn { token: Token([6; 32]), ..sign_in.clone() }, &env);
        assert_eq!(keep("[::1]:5", &sign_in, &env), place);
        let place = place.unwrap();
        assert!(place.ends_with("palk/tokens/%5B%3A%3A1%5D%3A5/demo"), "{}", place.display());
        #[cfg(unix)]
        for (path, mode) in [(place.as_path(), 0o600), (place.parent().unwrap(), 0o700)] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
        for user in [Some("demo"), None] {
            assert_eq!(find(&settings(user, &env), &env), Ok(Some(sign_in.clone())));
        }
        assert_eq!(find(&settings(Some("eve"), &env), &env), Ok(None));
        // Where there are two, one has to be named.
        keep("[::1]:5", &SignIn { user: "eve".into(), ..sign_in.clone() }, &env).unwrap();
        assert_eq!(find(&settings(None, &env), &env), Ok(None));
        forget("[::1]:5", "eve", &env).unwrap();
        forget("[::1]:5", "eve", &env).unwrap();
        assert_eq!(find(&settings(None, &env), &env), Ok(Some(sign_in)));
        fs::write(&place, "nonsense").unwrap();
        assert_eq!(find(&settings(Some("demo"), &env), &env), Ok(None));
        forget("[::1]:5", "demo", &env).unwrap();
        assert!(!place.parent().unwrap().exists());
    }

    #[test]
    fn no_name_leaves_its_folder() {
        assert_eq!(escaped("127.0.0.1:17777"), "127.0.0.1%3A17777");
        assert_eq!(escaped("../x"), "%2E.%2Fx");
        assert_eq!(escaped(".."), "%2E.");
        assert_eq!(escaped("a b%"), "a%20b%25");
    }
}
