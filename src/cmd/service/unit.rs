//! `--print-unit`: a systemd unit that starts the same command.
//!
//! What is switched off for the process is what neither a node nor the server needs. Two things depend on
//! where its files are: `ProtectHome` leaves homes readable if the program or a file of it lies in one,
//! and `PrivateTmp` is left out if something lies in a folder for temporary files, which would be empty.
//!
//! The unit runs as the owner of the folder, so the folder has to exist. That also keeps the one path
//! that is writable narrow.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::io::listener::STOP_WAIT;
use crate::core::io::reason;

/// How long a stop may take beyond the time that what is running gets.
const STOP_MARGIN_SECONDS: u64 = 15;

/// A usage error, and a refusal (such as after a take-over): the next start would end the same way.
const NO_RESTART: &str = "2 9";

/// Ports below this one are for the superuser.
const FREE_PORTS: u16 = 1024;

/// What the unit is for.
pub(crate) struct Unit {
    /// `Palk server`
    pub(crate) description: String,
    /// The folder that it writes to.
    pub(crate) folder: PathBuf,
    /// Other files that it reads.
    pub(crate) files: Vec<PathBuf>,
    /// Where it listens, `HOST:PORT`.
    pub(crate) addresses: Vec<String>,
    /// Whether SIGHUP reloads something.
    pub(crate) reloads: bool,
}

impl Unit {
    /// Prints it.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if the folder or a file does not exist, [`Code::Usage`] if a unit cannot have
    /// one of the words.
    pub(crate) fn print(&self, env: &mut Env) -> Result<(), Stop> {
        let text = self.text(env)?;
        env.data(text.trim_end())
    }

    fn text(&self, env: &Env) -> Result<String, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            let text = format!("cannot find out where this program is: {}", reason(&error));
            Failure::new(Code::LocalFile, text)
        })?;
        let here = real(Path::new("."), env)?;
        let folder = real(&self.folder, env).map_err(|failure| {
            let shown = self.folder.display();
            failure.hint(format!(
                "Make it first, owned by the user that the service is to run as:  mkdir -m 700 {shown}"
            ))
        })?;
        let owner = fs::metadata(&folder).map_err(|error| missing(&folder, &error))?;
        let mut used = vec![program.clone(), here.clone(), folder.clone()];
        for file in &self.files {
            let hint = "Put it in its place first, or correct its name.";
            used.push(real(file, env).map_err(|failure| failure.hint(hint))?);
        }
        let lies_in = |roots: &[&str]| {
            used.iter().any(|path| roots.iter().any(|root| path.starts_with(root)))
        };
        let home = if lies_in(&["/home", "/root", "/run/user"]) { "read-only" } else { "yes" };
        let private_tmp = !lies_in(&["/tmp", "/var/tmp"]);
        let has_low_port = self.addresses.iter().any(|address| is_low_port(address));

        let words: Vec<_> = env.args().into_iter().skip(1).collect();
        let words = words.iter().filter(|word| *word != "--print-unit");
        let mut command = word(program.as_os_str())?;
        for argument in words {
            // In all but the first word a dollar sign stands for a variable.
            command.push_str(&format!(" {}", word(argument)?.replace('$', "$$")));
        }
        let mut text = String::new();
        let mut line = |line: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{line}");
        };
        line("[Unit]");
        line(&format!("Description={}", self.description));
        line("Wants=network-online.target");
        line("After=network-online.target");
        line(&format!("RequiresMountsFor={}", word(folder.as_os_str())?));
        line("\n[Service]");
        line("Type=notify");
        line(&format!("ExecStart={command}"));
        if self.reloads {
            // The shell's own: a small system has no other.
            line("ExecReload=/bin/sh -c \"kill -HUP ${MAINPID}\"");
        }
        line(&format!("WorkingDirectory={}", plain(here.as_os_str())?));
        for (name, value) in variables(env) {
            let assignment = format!("{name}={value}");
            line(&format!("Environment={}", word(OsStr::new(&assignment))?));
        }
        if owner.uid() != 0 {
            line(&format!("User={}\nGroup={}", owner.uid(), owner.gid()));
        }
        line("Restart=on-failure\nRestartSec=2");
        line(&format!("RestartPreventExitStatus={NO_RESTART}"));
        // A large folder is looked through before anybody is served.
        line("TimeoutStartSec=infinity");
        line(&format!("TimeoutStopSec={}", STOP_WAIT.as_secs() + STOP_MARGIN_SECONDS));
        line("LimitNOFILE=65536\nUMask=0077\n");
        line("NoNewPrivileges=yes\nProtectSystem=strict");
        line(&format!("ReadWritePaths={}", word(folder.as_os_str())?));
        line(&format!("ProtectHome={home}"));
        if private_tmp {
            line("PrivateTmp=yes");
        }
        match has_low_port {
            true => line(
                "AmbientCapabilities=CAP_NET_BIND_SERVICE\n\
                 CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            ),
            false => line("PrivateUsers=yes\nAmbientCapabilities=\nCapabilityBoundingSet="),
        }
        line(HARDENING);
        line("\n[Install]\nWantedBy=multi-user.target");
        Ok(text)
    }
}

/// What holds for every node and server. `/proc` stays whole: the limits of open files are read there.
const HARDENING: &str = "\
PrivateDevices=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM";

/// The variables that are set and that this command reads.
fn variables(env: &Env) -> Vec<(String, String)> {
    let command = crate::cmd::command();
    let named = env.args().get(1).and_then(|name| command.find_subcommand(name)).cloned();
    let names = named.iter().flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_env);
    let names = names.filter_map(OsStr::to_str);
    let set = |name: &str| Some((name.to_owned(), env.variable(name)?.into_string().ok()?));
    names.filter_map(set).collect()
}

/// Where a file really is, without links and `..`.
fn real(path: &Path, env: &Env) -> Result<PathBuf, Failure> {
    fs::canonicalize(env.at(path)).map_err(|error| missing(path, &error))
}

fn missing(path: &Path, error: &std::io::Error) -> Failure {
    let text = format!("cannot print a unit for {}: {}", path.display(), reason(error));
    Failure::new(Code::LocalFile, text)
}

fn is_low_port(address: &str) -> bool {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.is_some_and(|port: u16| port != 0 && port < FREE_PORTS)
}

/// One word of a list, quoted where it has to be.
fn word(text: &OsStr) -> Result<String, Failure> {
    let text = plain(text)?;
    let is_simple = |c: char| c.is_alphanumeric() || "-_./:=,@+%$".contains(c);
    if !text.is_empty() && text.chars().all(is_simple) {
        return Ok(text);
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A value that is a whole line: only what systemd would replace is escaped.
fn plain(text: &OsStr) -> Result<String, Failure> {
    match text.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(text.replace('%', "%%")),
        _ => {
            let text = format!(
                "a unit cannot have the word {:?}: it is not text of one line",
                text.to_string_lossy()
            );
            Err(Failure::new(Code::Usage, text).hint("Give it another name."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_systemd_would_take_them_for_something_else() {
        let quoted = |text: &str| word(OsStr::new(text)).unwrap();
        assert_eq!(quoted("/srv/palk"), "/srv/palk");
        assert_eq!(quoted("--door=share=127.0.0.1:1,user=a"), "--door=share=127.0.0.1:1,user=a");
        assert_eq!(quoted("a b"), r#""a b""#);
        assert_eq!(quoted(r#"a"b\c;"#), r#""a\"b\\c;""#);
        assert_eq!(quoted("50%"), "50%%");
        assert_eq!(quoted(""), r#""""#);
        assert!(word(OsStr::new("a\nExecStartPre=/bin/true")).is_err());
    }

    #[test]
    fn low_ports_are_known() {
        assert!(is_low_port("127.0.0.1:443") && is_low_port("[::]:80"));
        assert!(!is_low_port("127.0.0.1:17777") && !is_low_port("127.0.0.1:0"));
    }
}
