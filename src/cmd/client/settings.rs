//! Which server, which user, and where the password comes from: options, then the environment,
//! then the profile of the configuration file, then the default.
//!
//! ```toml
//! default_profile = "home"      # used where no --profile is given
//!
//! [profile.home]
//! server = "127.0.0.1:17777"
//! user = "demo"
//! password_file = "~/.palk-password"      # or: password_command = "pass show palk"
//! fingerprint = "..."                      # what the server must be recognised by
//! ```

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Deserialize;

use super::password::Source;
use crate::cmd::env::{Env, Manner};
use crate::cmd::failure::Failure;
use crate::core::error::Code;
use crate::core::io::reason;
use crate::core::types::Fingerprint;

/// The server where none is named.
const DEFAULT_SERVER: &str = "127.0.0.1:17777";
const DEFAULT_PORT: u16 = 17777;

/// The options that every verb has.
#[derive(Args, Clone, Default, Debug)]
pub(crate) struct Common {
    /// The server, or "scan" for the only one in the network [default: 127.0.0.1:17777]
    #[arg(long, global = true, value_name = "HOST:PORT", env = "PALK_SERVER")]
    #[arg(help_heading = "Connection")]
    pub(crate) server: Option<String>,

    /// The server must have this fingerprint, whatever it is known by
    #[arg(long, global = true, value_name = "F", env = "PALK_FINGERPRINT")]
    #[arg(help_heading = "Connection")]
    pub(super) fingerprint: Option<Fingerprint>,

    /// Whose files
    #[arg(long, global = true, value_name = "NAME", env = "PALK_USER")]
    #[arg(help_heading = "Connection")]
    pub(super) user: Option<String>,

    /// Read the password from the first line of a file [env: PALK_PASSWORD_FILE=]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    #[arg(conflicts_with_all = ["password_command", "password_stdin"])]
    pub(super) password_file: Option<PathBuf>,

    /// Read the password from a command's output; no shell is used [env: PALK_PASSWORD_COMMAND=]
    #[arg(long, global = true, value_name = "CMD", help_heading = "Connection")]
    #[arg(conflicts_with = "password_stdin")]
    pub(super) password_command: Option<String>,

    /// Read the password from the first line of standard input
    #[arg(long, global = true, help_heading = "Connection")]
    pub(super) password_stdin: bool,

    /// Take what is not given from this profile of the configuration file
    #[arg(long, global = true, value_name = "NAME", env = "PALK_PROFILE")]
    #[arg(help_heading = "Connection")]
    pub(crate) profile: Option<String>,

    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print data and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Print details too
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,

    /// Never ask anything
    #[arg(long, global = true, env = "PALK_NO_INPUT", value_parser = BoolishValueParser::new())]
    pub(super) no_input: bool,
}

impl Common {
    pub(crate) fn manner(&self) -> Manner {
        let Common { quiet, verbose, json, no_input, .. } = *self;
        Manner { quiet, verbose, json, no_input }
    }
}

/// What the options, the environment and the configuration come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub(crate) server: String,
    /// What the server is recognised by, if it is given or known.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// It is given on the command line, in the environment or in the profile.
    pub(crate) fingerprint_is_given: bool,
    pub(crate) user: Option<String>,
    /// Nothing: the user is to be asked.
    pub(crate) password: Option<Source>,
    /// A password was named on the command line: it is meant, and no saved sign-in in its place.
    pub(crate) password_given: bool,
}

/// What a configuration file says.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    default_profile: Option<String>,
    #[serde(default)]
    pub(crate) profile: BTreeMap<String, Profile>,
}

impl Config {
    /// The profile that is used: the one that is asked for, or the file's own default.
    pub(crate) fn named<'a>(&'a self, common: &'a Common) -> Option<&'a str> {
        common.profile.as_deref().or(self.default_profile.as_deref())
    }
}

/// What it says of one profile.
#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(super) server: Option<String>,
    pub(super) user: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(super) password_command: Option<String>,
    fingerprint: Option<String>,
}

impl Profile {
    /// What the profile's own server is recognised by.
    fn fingerprint(&self, server: Option<&str>) -> Result<Option<Fingerprint>, Failure> {
        let Some(text) = &self.fingerprint else { return Ok(None) };
        if server.is_some() && server != self.server.as_deref() {
            return Ok(None);
        }
        let failed = |why| {
            Failure::new(Code::Usage, format!("the profile's fingerprint: {why}"))
                .hint("Correct it in the configuration file. The server's log has it.")
        };
        text.parse().map(Some).map_err(failed)
    }
}

impl Settings {
    /// # Errors
    /// [`Code::Usage`] for a contradiction, a profile that does not exist, or a configuration
    /// that cannot be read.
    pub(crate) fn resolve(common: &Common, env: &Env) -> Result<Settings, Failure> {
        let profile = profile(common, env)?;
        let mut password = given(common).map_or_else(|| from_environment(env), |s| Ok(Some(s)))?;
        // A profile's password belongs to its user, and must not be tried on anyone else.
        if password.is_none() && (common.user.is_none() || common.user == profile.user) {
            password = from_profile(&profile, env)?;
        }
        let fingerprint = match common.fingerprint {
            Some(given) => Some(given),
            None => profile.fingerprint(common.server.as_deref())?,
        };
        let server = common.server.clone().or(profile.server);
        let mut settings = Settings {
            server: with_port(server.unwrap_or_else(|| DEFAULT_SERVER.to_owned())),
            fingerprint,
            fingerprint_is_given: false,
            user: common.user.clone().or(profile.user),
            password,
            password_given: given(common).is_some(),
        };
        settings.look_up(env)?;
        Ok(settings)
    }
}

/// The server as it is named by an option, the environment or the profile, if it is.
///
/// # Errors
/// As [`Settings::resolve`].
pub(crate) fn named_server(common: &Common, env: &Env) -> Result<Option<String>, Failure> {
    match &common.server {
        Some(server) => Ok(Some(server.clone())),
        None => Ok(profile(common, env)?.server),
    }
}

fn given(common: &Common) -> Option<Source> {
    if common.password_stdin {
        return Some(Source::StandardInput);
    }
    let command = common.password_command.clone().map(Source::Command);
    common.password_file.clone().map(Source::File).or(command)
}

fn from_environment(env: &Env) -> Result<Option<Source>, Failure> {
    let file = env.variable("PALK_PASSWORD_FILE");
    let command = env.variable("PALK_PASSWORD_COMMAND");
    match (file, command) {
        (Some(_), Some(_)) => Err(contradiction("PALK_PASSWORD_FILE and PALK_PASSWORD_COMMAND")),
        (Some(file), None) => Ok(Some(Source::File(file.into()))),
        (None, Some(command)) => {
            let command = command.into_string();
            let failed = |_| {
                Failure::new(Code::Usage, "PALK_PASSWORD_COMMAND is not UTF-8 text")
                    .hint("Correct or unset the variable.")
            };
            Ok(Some(Source::Command(command.map_err(failed)?)))
        }
        (None, None) => Ok(None),
    }
}

fn from_profile(profile: &Profile, env: &Env) -> Result<Option<Source>, Failure> {
    match (&profile.password_file, &profile.password_command) {
        (Some(_), Some(_)) => Err(contradiction("password_file and password_command")),
        (Some(file), None) => Ok(Some(Source::File(from_home(file, env)))),
        (None, Some(command)) => Ok(Some(Source::Command(command.clone()))),
        (None, None) => Ok(None),
    }
}

fn contradiction(both: &str) -> Failure {
    Failure::new(Code::Usage, format!("{both} are both set")).hint("Set one of them only.")
}

fn profile(common: &Common, env: &Env) -> Result<Profile, Failure> {
    let needs_nothing =
        common.profile.is_none() && common.server.is_some() && common.user.is_some();
    let read = match config_text(env) {
        // Somebody else's home: it must not stop who needs nothing of it.
        Err(error)
            if needs_nothing && env.variable("PALK_CONFIG").is_none() && is_nobodys(&error) =>
        {
            return Ok(Profile::default());
        }
        read => read_config(read, env)?,
    };
    let named = |config: &Config| config.named(common).map(str::to_owned);
    match (read, config_place(env)) {
        (Some(config), place) => match named(&config) {
            None => Ok(Profile::default()),
            Some(name) => match config.profile.get(&name) {
                Some(profile) => Ok(profile.clone()),
                None => {
                    let place = place.unwrap_or_default();
                    missing(Some(&name), &format!("it is not in {}", place.display()))
                }
            },
        },
        (None, Some(place)) => {
            missing(common.profile.as_deref(), &format!("there is no {}", place.display()))
        }
        (None, None) => missing(common.profile.as_deref(), "there is no configuration file"),
    }
}

/// The text of the configuration file; `None` if there is none and none was named.
fn config_text(env: &Env) -> std::io::Result<Option<String>> {
    let Some(place) = config_place(env) else { return Ok(None) };
    match std::fs::read_to_string(env.at(&place)) {
        Err(error) if env.variable("PALK_CONFIG").is_none() && is_absent(&error) => Ok(None),
        read => read.map(Some),
    }
}

fn read_config(
    text: std::io::Result<Option<String>>,
    env: &Env,
) -> Result<Option<Config>, Failure> {
    let place = config_place(env).unwrap_or_default();
    let text = text.map_err(|error| {
        let text = format!("cannot read {}: {}", place.display(), reason(&error));
        Failure::new(Code::Usage, text).hint("PALK_CONFIG names another one.")
    })?;
    let config = text.map(|text| parse(&text)).transpose();
    config.map_err(|(line, why)| {
        let text = format!("{} line {line}: {why}", place.display());
        Failure::new(Code::Usage, text).hint("Correct that line, or remove it.")
    })
}

/// What the configuration file says; `None` if there is none and none was named.
///
/// # Errors
/// [`Code::Usage`] if it cannot be read or understood.
pub(crate) fn config(env: &Env) -> Result<Option<Config>, Failure> {
    read_config(config_text(env), env)
}

/// Reads a configuration file's text; if it is none, gives the line of the mistake and the reason.
fn parse(text: &str) -> Result<Config, (usize, String)> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        (line, error.message().to_owned())
    })
}

/// Why this is no configuration file, and the line (from 1) of the mistake; nothing if it is one.
pub fn config_mistake(text: &str) -> Option<(usize, String)> {
    parse(text).err()
}

/// Nothing to take from: fine unless a profile was asked for.
fn missing(asked: Option<&str>, why: &str) -> Result<Profile, Failure> {
    match asked {
        None => Ok(Profile::default()),
        Some(name) => {
            let text = format!("there is no profile {name:?}: {why}");
            Err(Failure::new(Code::Usage, text).hint(format!("Add it as  [profile.{name}]")))
        }
    }
}

/// Is there no such file?
pub(super) fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Is there none that is this user's? The home may be another user's, as after `su`.
pub(super) fn is_nobodys(error: &std::io::Error) -> bool {
    is_absent(error) || error.kind() == std::io::ErrorKind::PermissionDenied
}

/// Where the configuration file is, whether it exists or not.
pub(crate) fn config_place(env: &Env) -> Option<PathBuf> {
    if let Some(place) = env.variable("PALK_CONFIG") {
        return Some(place.into());
    }
    let folder = match env.variable("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env.variable("HOME")?).join(".config"),
    };
    Some(folder.join("palk/config.toml"))
}

/// A `~/` at the beginning is the user's home: no shell has seen to it here.
pub(crate) fn from_home(path: &Path, env: &Env) -> PathBuf {
    match (path.strip_prefix("~"), env.variable("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.to_owned(),
    }
}

/// The address of a server, with the usual port where none is named. An IPv6 address needs no
/// brackets where no port follows.
pub fn with_port(server: String) -> String {
    let address = server.split('%').next().unwrap_or_default(); // a zone may follow
    if address.parse::<Ipv6Addr>().is_ok() {
        return format!("[{server}]:{DEFAULT_PORT}");
    }
    let bare = !server.contains(':') || server.ends_with(']');
    if bare { format!("{server}:{DEFAULT_PORT}") } else { server }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_config(text: &str, common: Common) -> Result<Settings, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("palk/config.toml");
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, text).unwrap();
        let (mut env, _) = Env::fake(&[], "");
        env.set_variable("XDG_CONFIG_HOME", folder.path());
        env.set_variable("HOME", Path::new("/home/demo"));
        Settings::resolve(&common, &env)
    }

    const TWO: &str = "default_profile = 'a'\n\
        [profile.a]\nserver = 'h:1'\nuser = 'ann'\npassword_file = '~/pw'\n\
        [profile.b]\nuser = 'bob'\npassword_command = 'pass palk'\n";

    #[test]
    fn without_anything_the_default_server_is_meant() {
        let settings = with_config("", Common::default()).unwrap();
        assert_eq!(
            settings,
            Settings {
                server: DEFAULT_SERVER.into(),
                fingerprint: None,
                fingerprint_is_given: false,
                user: None,
                password: None,
                password_given: false
            }
        );
    }

    #[test]
    fn a_profile_fills_in_what_is_not_given() {
        let settings = with_config(TWO, Common::default()).unwrap();
        assert_eq!(settings.server, "h:1");
        assert_eq!(settings.user.as_deref(), Some("ann"));
        assert_eq!(settings.password, Some(Source::File("/home/demo/pw".into())));
        let common =
            Common { server: Some("x".into()), profile: Some("b".into()), ..Common::default() };
        let settings = with_config(TWO, common).unwrap();
        assert_eq!(settings.server, "x:17777");
        assert_eq!(settings.password, Some(Source::Command("pass palk".into())));
    }

    #[test]
    fn a_profiles_password_is_not_tried_on_another_user() {
        let common = Common { user: Some("eve".into()), ..Common::default() };
        assert_eq!(with_config(TWO, common).unwrap().password, None);
    }

    #[test]
    fn a_mistake_in_the_configuration_is_named_with_its_line() {
        let failure = with_config("[profile.a]\npasword_file = 'x'\n", Common::default());
        let failure = failure.unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert!(failure.text.contains("line 2") && failure.text.contains("pasword_file"));
        let common = Common { profile: Some("c".into()), ..Common::default() };
        assert!(with_config(TWO, common).unwrap_err().text.contains("no profile \"c\""));
    }

    #[test]
    fn an_address_gets_the_usual_port_and_its_brackets() {
        for (given, meant) in [
            ("::1", "[::1]:17777"),
            ("fe80::1%eth0", "[fe80::1%eth0]:17777"),
            ("[::1]", "[::1]:17777"),
            ("[::1]:5", "[::1]:5"),
            ("host", "host:17777"),
            ("127.0.0.1:5", "127.0.0.1:5"),
        ] {
            assert_eq!(with_port(given.to_owned()), meant);
        }
    }

    #[test]
    fn a_profiles_fingerprint_is_that_of_its_own_server() {
        let print = Fingerprint([7; 32]);
        let config = format!("[profile.a]\nserver = 'h:1'\nfingerprint = '{print}'\n");
        let with = |server: Option<&str>| {
            let server = server.map(str::to_owned);
            let common = Common { server, profile: Some("a".into()), ..Common::default() };
            let settings = with_config(&config, common).unwrap();
            (settings.fingerprint, settings.fingerprint_is_given)
        };
        assert_eq!(with(None), (Some(print), true));
        assert_eq!(with(Some("h:2")), (None, false));
        let wrong = config.replace(&print.to_string(), "x");
        let common = Common { profile: Some("a".into()), ..Common::default() };
        assert_eq!(with_config(&wrong, common).unwrap_err().code, Code::Usage);
    }
}
