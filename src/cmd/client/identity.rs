//! Which server is the right one: the servers that are known here, and what is done about one that is
//! not.
//!
//! ```text
//!   --fingerprint F, or known here ──▶ it must be this one, else exit status 12
//!   neither ──┬─ on this machine ──▶ nothing is asked; remembered once somebody has signed in
//!             ├─ an authority of this machine vouches for it ──▶ nothing is asked
//!             └─ else ──┬─ somebody can be asked ──▶ asked once, and remembered
//!                       └─ nobody ──▶ exit status 12
//! ```
//!
//! Known servers are lines of `HOST:PORT FINGERPRINT` in the file `known_servers` beside the
//! configuration file. The file is replaced as a whole, and all else in it stays as it is.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::advice;
use super::local::replace_file;
use super::settings::{Settings, config_place, is_nobodys};
use crate::cmd::env::{Asked, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::io::net::is_loopback;
use crate::core::io::reason;
use crate::core::io::tls::Trust;
use crate::core::path::printable;
use crate::core::remote::{Remote, Target};
use crate::core::types::Fingerprint;

const FILE_NAME: &str = "known_servers";

/// The servers that are known to this user.
pub(crate) struct KnownServers {
    place: PathBuf,
    text: String,
}

impl KnownServers {
    /// Reads the file; one that is not there knows nobody.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if there is no place for it or it cannot be read.
    pub(crate) fn open(env: &Env) -> Result<KnownServers, Failure> {
        let Some(config) = config_place(env) else {
            let text = "there is no place for known servers: HOME is not set";
            return Err(Failure::new(Code::LocalFile, text).hint("Set HOME or PALK_CONFIG."));
        };
        let place = env.at(&config).with_file_name(FILE_NAME);
        let text = match fs::read_to_string(&place) {
            Ok(text) => text,
            Err(error) if is_nobodys(&error) => String::new(),
            Err(error) => return Err(failed("read", &place, &error)),
        };
        Ok(KnownServers { place, text })
    }

    /// What the server at this address is known by.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if its line is no such line: it must not look as if it were not known.
    pub(super) fn find(&self, server: &str) -> Result<Option<Fingerprint>, Failure> {
        let Some(line) = self.text.lines().find(|line| is_about(line, server)) else {
            return Ok(None);
        };
        let print = line.split_whitespace().nth(1).unwrap_or_default();
        print.parse().map(Some).map_err(|why| {
            let text = format!("{} on {server}: {why}", self.place.display());
            Failure::new(Code::LocalFile, text).hint("Correct that line, or remove it.")
        })
    }

    /// The file.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// The lines that are none (from 1), and why.
    pub(crate) fn mistakes(&self) -> Vec<(usize, String)> {
        let lines = self.text.lines().enumerate().filter(|(_, line)| is_entry(line));
        lines
            .filter_map(|(at, line)| {
                let print = line.split_whitespace().nth(1).unwrap_or_default();
                print.parse::<Fingerprint>().err().map(|why| (at + 1, why))
            })
            .collect()
    }

    /// How many servers are known.
    pub(crate) fn count(&self) -> usize {
        self.text.lines().filter(|line| is_entry(line)).count()
    }

    /// Remembers a server, in place of what it was known by before.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if the file cannot be written.
    pub(super) fn remember(&mut self, server: &str, print: &Fingerprint) -> Result<(), Failure> {
        let others = self.text.lines().filter(|line| !is_about(line, server));
        let lines: Vec<String> = others
            .map(str::to_owned)
            .chain([format!("{} {print}", server.to_lowercase())])
            .collect();
        self.text = lines.join("\n") + "\n";
        self.replace().map_err(|error| failed("write", &self.place, &error))
    }

    fn replace(&self) -> io::Result<()> {
        // Through a link, as an editor would.
        let target = fs::canonicalize(&self.place).unwrap_or_else(|_| self.place.clone());
        let folder = target.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        replace_file(&target, &self.text, None)
    }
}

/// Is this line about any server? Others are remarks.
fn is_entry(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| !word.starts_with('#'))
}

/// Is this line about this server? Names of hosts have no case.
fn is_about(line: &str, server: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case(server))
}

fn failed(what: &str, place: &Path, error: &io::Error) -> Failure {
    let text = format!("cannot {what} {}: {}", place.display(), reason(error));
    Failure::new(Code::LocalFile, text).hint("Check the file and its folder, then try again.")
}

impl Settings {
    /// Which server there is the right one, as given or known.
    pub(crate) fn target(&self) -> Target {
        let trust = self.fingerprint.map_or(Trust::Vouched, Trust::Pinned);
        Target { address: self.server.clone(), trust }
    }

    /// Takes what the server is known by, unless a fingerprint is given.
    pub(super) fn look_up(&mut self, env: &Env) -> Result<(), Failure> {
        self.fingerprint_is_given = self.fingerprint.is_some();
        if !self.fingerprint_is_given && config_place(env).is_some() {
            self.fingerprint = KnownServers::open(env)?.find(&self.server)?;
        }
        Ok(())
    }

    /// Connects as `connect` does; where the server is not known and somebody can be asked, they are,
    /// and their answer is remembered.
    ///
    /// # Errors
    /// [`Code::ServerIdentity`] if it is not the right server, with what to do; those of `connect`.
    pub(super) fn reach<T>(
        &mut self,
        env: &mut Env,
        connect: impl Fn(Target) -> Result<T, Error>,
    ) -> Result<T, Stop> {
        let found = match connect(self.target()) {
            Err(Error::UnknownServer { found, .. }) if env.can_ask() => found,
            done => return Ok(done.map_err(|error| self.not_reached(&error))?),
        };
        let question = format!(
            "The server {} is not known here. Its fingerprint is\n  {found}\n\
             It is the right one if the server printed the same when it was started.\n\
             Trust it from now on? (yes or no): ",
            printable(&self.server)
        );
        let answer = env.ask(&question, Asked::Answer)?;
        if !answer.trim().eq_ignore_ascii_case("yes") {
            let text = format!("the server {} is not trusted", self.server);
            let hint = "Nothing was sent. Ask the operator of the server for its fingerprint.";
            return Err(Failure::new(Code::ServerIdentity, text).hint(hint).into());
        }
        KnownServers::open(env)?.remember(&self.server, &found)?;
        self.fingerprint = Some(found);
        Ok(connect(self.target()).map_err(|error| self.not_reached(&error))?)
    }

    /// Somebody has signed in to this server. One on this machine that was not known is known from now
    /// on, so that another one that takes its port is noticed. One that an authority vouches for may
    /// have another key tomorrow.
    pub(super) fn was_used(&mut self, remote: &Remote, env: &mut Env) {
        let Some(print) = remote.fingerprint().filter(|_| remote.is_local()) else { return };
        if self.fingerprint.replace(print).is_some() || config_place(env).is_none() {
            return;
        }
        let noted =
            KnownServers::open(env).and_then(|mut known| known.remember(&self.server, &print));
        // It is known as long as this command runs, and will be met again.
        if let Err(failure) = noted {
            env.detail(&format!("The server is not remembered: {}", failure.text));
        }
    }

    /// A connection that was not made, with what to do.
    pub(crate) fn not_reached(&self, error: &Error) -> Failure {
        let failure = Failure::from(error);
        let server = &self.server;
        match error {
            // Whoever answered there did not get as far as being a server.
            Error::Closed(_) | Error::Deadline(_) => failure.hint(advice::NOT_RUNNING),
            Error::UnknownServer { .. } => failure.hint(format!(
                "Nothing was sent. Compare it with what the server printed when it was started, \
                 then:  palk client trust {server} FINGERPRINT   or once:  --fingerprint FINGERPRINT"
            )),
            Error::ChangedServer { .. } if self.fingerprint_is_given => failure.hint(
                "Nothing was sent. Is it the right server, and the right fingerprint? Do not go on \
                 before you know.",
            ),
            Error::ChangedServer { .. } if is_loopback(server).unwrap_or(false) => {
                failure.hint(format!(
                    "Nothing was sent. Another server has this port now, perhaps another user's. If \
                     it is yours:  palk client trust {server} FINGERPRINT"
                ))
            }
            Error::ChangedServer { .. } => failure.hint(format!(
                "Nothing was sent. Somebody may be between you and it: do not go on unless its \
                 operator says that its key is new. Then:  palk client trust {server} FINGERPRINT"
            )),
            _ => advice::plain(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::client::settings::Common;

    fn env_in(folder: &Path) -> Env {
        let (mut env, _) = Env::fake(&[], "");
        env.set_variable("XDG_CONFIG_HOME", folder);
        env
    }

    const PRINT: Fingerprint = Fingerprint([7; 32]);

    #[test]
    fn a_server_is_remembered_and_all_else_in_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let env = env_in(folder.path());
        let mut known = KnownServers::open(&env).unwrap();
        assert_eq!(known.find("Host:1").unwrap(), None);
        known.remember("Host:1", &PRINT).unwrap();
        let place = folder.path().join("palk/known_servers");
        let text = fs::read_to_string(&place).unwrap();
        fs::write(&place, format!("# mine\n{text}other:1 {PRINT}\n")).unwrap();

        let mut known = KnownServers::open(&env).unwrap();
        assert_eq!(known.find("hOST:1").unwrap(), Some(PRINT));
        assert_eq!(known.find("ost:1").unwrap(), None);
        known.remember("host:1", &Fingerprint([8; 32])).unwrap();
        let known = KnownServers::open(&env).unwrap();
        assert_eq!(known.find("host:1").unwrap(), Some(Fingerprint([8; 32])));
        assert_eq!(known.find("other:1").unwrap(), Some(PRINT));
        assert!(known.text.starts_with("# mine\n") && known.text.lines().count() == 3);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&place).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("palk")).unwrap();
        fs::write(folder.path().join("palk/known_servers"), "host:1 abc\n").unwrap();
        let known = KnownServers::open(&env_in(folder.path())).unwrap();
        let failure = known.find("host:1").unwrap_err();
        assert!(failure.text.contains("host:1") && failure.code == Code::LocalFile);
        assert_eq!(known.find("host:2").unwrap(), None);
    }

    /// A server of this key that is not on this machine.
    fn far(target: Target) -> Result<(), Error> {
        match target.trust {
            Trust::Pinned(PRINT) => Ok(()),
            Trust::Pinned(expected) => {
                Err(Error::ChangedServer { server: target.address, found: PRINT, expected })
            }
            _ => Err(Error::UnknownServer { server: target.address, found: PRINT }),
        }
    }

    fn settings_in(env: &Env) -> Settings {
        let common = Common { server: Some("10.0.0.1".into()), ..Common::default() };
        Settings::resolve(&common, env).unwrap()
    }

    #[test]
    fn somebody_at_a_terminal_is_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        let on_terminal = |answer: &str| {
            let (mut env, screen) = Env::fake(&[], answer);
            env.set_variable("XDG_CONFIG_HOME", folder.path());
            (env.on_terminal(), screen)
        };
        let (mut env, _) = on_terminal("no\n");
        let Err(Stop::Failed(failure)) = settings_in(&env).reach(&mut env, far) else { panic!() };
        assert_eq!(failure.code.exit_status(), 12);
        let (mut env, screen) = on_terminal("Yes\n");
        settings_in(&env).reach(&mut env, far).unwrap();
        assert!(screen.err().contains(&PRINT.to_string()), "{}", screen.err());
        assert_eq!(screen.out(), "");
        let (mut env, screen) = on_terminal("");
        settings_in(&env).reach(&mut env, far).unwrap();
        assert_eq!(screen.err(), "");
    }

    #[test]
    fn a_script_is_not_asked_and_a_given_fingerprint_wins() {
        let folder = tempfile::tempdir().unwrap();
        let mut env = env_in(folder.path());
        assert!(settings_in(&env).reach(&mut env, far).is_err());
        KnownServers::open(&env).unwrap().remember("10.0.0.1:17777", &PRINT).unwrap();
        settings_in(&env).reach(&mut env, far).unwrap();
        let common = Common {
            server: Some("10.0.0.1".into()),
            fingerprint: Some(Fingerprint([1; 32])),
            ..Common::default()
        };
        let mut settings = Settings::resolve(&common, &env).unwrap();
        let Err(Stop::Failed(failure)) = settings.reach(&mut env, far) else { panic!() };
        assert_eq!(failure.code, Code::ServerIdentity);
    }

    #[test]
    fn an_unknown_server_is_status_12_and_the_message_says_what_to_do() {
        let settings = Settings {
            server: "10.0.0.1:17777".into(),
            fingerprint: Some(PRINT),
            fingerprint_is_given: false,
            user: None,
            password: None,
            password_given: false,
        };
        let changed = Error::ChangedServer {
            server: settings.server.clone(),
            found: Fingerprint([9; 32]),
            expected: PRINT,
        };
        let unknown =
            Error::UnknownServer { server: settings.server.clone(), found: Fingerprint([9; 32]) };
        for error in [changed, unknown] {
            let failure = settings.not_reached(&error);
            assert_eq!(failure.code.exit_status(), 12);
            assert!(failure.text.contains(&Fingerprint([9; 32]).to_string()), "{failure:?}");
            assert!(failure.hint.unwrap().contains("palk client trust 10.0.0.1:17777 "));
        }
    }
}
