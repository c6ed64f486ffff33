//! The whole text of what people are told when something fails: what, why, and what to do.
//!
//! Each test is a session at a shell. Its commands, what they print and the exit status of those that
//! fail are compared with a file in `tests/messages/`. After a change of a text run
//! `SNAPSHOTS=overwrite cargo nextest run --test messages`, then read what has changed in these files.

#[path = "messages/client.rs"]
mod client;
#[path = "messages/nodes.rs"]
mod nodes;
#[path = "messages/services.rs"]
mod services;
#[path = "messages/sign_in.rs"]
mod sign_in;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;
use snapbox::{Assert, Data, Redactions};
use support::{Cluster, HANG, USER, palk};

/// A session at a shell, as it is written down.
struct Transcript {
    folder: PathBuf,
    variables: Vec<(&'static str, String)>,
    text: String,
    redactions: Redactions,
}

impl Transcript {
    /// Commands that are started in this folder, by somebody who has saved nothing yet.
    fn in_folder(folder: &Path) -> Transcript {
        let mut redactions = Redactions::new();
        redactions.insert("[FOLDER]", folder.to_path_buf()).unwrap();
        redactions.insert("[VERSION]", env!("CARGO_PKG_VERSION")).unwrap();
        let expression = r"B,? in (?<redacted>[0-9.]+ m?s( \(.*?/s\))?)";
        redactions.insert("[TIME]", Regex::new(expression).unwrap()).unwrap();
        let home = folder.join("home").to_str().unwrap().to_owned();
        // At the usual address another server may run.
        let nobody = "127.0.0.1:1".to_owned();
        let variables = vec![("XDG_CONFIG_HOME", home), ("PALK_SERVER", nobody)];
        Transcript { folder: folder.to_owned(), variables, text: String::new(), redactions }
    }

    /// The commands of user `demo` of this cluster, whose server and password file are in the
    /// environment.
    fn of(cluster: &Cluster) -> Transcript {
        let mut transcript = Transcript::in_folder(cluster.folder.path());
        transcript.set("PALK_SERVER", cluster.address());
        transcript.set("PALK_USER", USER);
        transcript.set("PALK_PASSWORD_FILE", "password");
        transcript.redact("[SERVER]", cluster.address());
        for (at, name) in
            ["[NODE_ONE]", "[NODE_TWO]", "[NODE_THREE]", "[NODE_FOUR]"].into_iter().enumerate()
        {
            transcript.redact(name, cluster.node_address(at + 1));
        }
        transcript
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(other, _)| *other != name);
        self.variables.push((name, value.to_owned()));
    }

    /// A text that is another one in each run.
    fn redact(&mut self, name: &'static str, text: &str) {
        self.redactions.insert(name, text.to_owned()).unwrap();
    }

    /// The same, where it is what this expression calls `redacted`.
    fn redact_like(&mut self, name: &'static str, expression: &str) {
        self.redactions.insert(name, Regex::new(expression).unwrap()).unwrap();
    }

    /// What was done before the next command.
    fn note(&mut self, text: &str) {
        self.text.push_str(&format!("\n# {text}\n"));
    }

    /// A line that is given to a shell, in which `palk` is the program under test.
    fn line(&mut self, line: &str) -> Output {
        let mut command = assert_cmd::Command::from_std(self.command(line));
        let output = command.timeout(HANG).ok().unwrap_or_else(|error| {
            error.as_output().cloned().unwrap_or_else(|| panic!("{line}: {error}"))
        });
        self.ended(line, &output);
        output
    }

    /// The same, which somebody else runs.
    fn command(&self, line: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_palk")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        // Its variables are those of the program under test.
        let clean = palk();
        let mut shell = Command::new("bash");
        for (name, _) in clean.get_envs() {
            shell.env_remove(name);
        }
        shell.env("PATH", format!("{}:{path}", program.display())).env("LC_ALL", "C.UTF-8");
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        shell.current_dir(&self.folder).args(["-c", &format!("set -o pipefail\n{line}")]);
        shell.stdin(Stdio::null());
        shell
    }

    fn ended(&mut self, line: &str, output: &Output) {
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(!out.contains("error: "), "data and errors are apart: {out}");
        self.text.push_str(&format!("\n$ {line}\n"));
        for text in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(text).lines().filter(|line| !is_of_a_log(line)) {
                self.text.push_str(&format!("{line}\n"));
            }
        }
        match output.status.code() {
            Some(0) => {}
            Some(code) => self.text.push_str(&format!("exit status: {code}\n")),
            None => panic!("{line}: {output:?}"),
        }
    }

    /// Compares all of it with a file.
    fn is(self, name: &str) {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
        let expected = Data::read_from(&home.join(format!("{name}.txt")), None);
        let assert = Assert::new()
            .action_env("SNAPSHOTS")
            .redact_with(self.redactions)
            .normalize_paths(false);
        assert.eq(self.text.trim_start().to_owned(), expected);
    }
}

/// Is this a line of the log of a node or server? Of these only the end is of interest.
fn is_of_a_log(line: &str) -> bool {
    line.split_once("Z ").is_some_and(|(time, _)| time.len() == 26 && time.as_bytes()[10] == b'T')
}

/// All transcripts there are.
fn transcripts() -> Vec<(String, String)> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let files = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|ending| ending == "txt"));
    texts.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_exit_status_is_met() {
    let met: BTreeSet<u8> = transcripts()
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.strip_prefix("exit status: ")?.parse().ok())
        .collect();
    let all: BTreeSet<u8> = (1..=14).chain([20, 21, 130]).collect();
    assert!(met.is_superset(&all), "{:?}", all.difference(&met));
}

/// An error is followed by a line that says what to do; clap's own by its usage.
#[test]
fn every_error_says_what_to_do_and_none_is_the_systems_own() {
    for (file, text) in transcripts() {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            assert!(!line.contains("os error"), "{file}: {line}");
            if !line.starts_with("error: ") {
                continue;
            }
            let end = lines[at..].iter().position(|line| line.starts_with("exit status: "));
            let rest = lines.iter().skip(at + 1).take(end.unwrap_or(usize::MAX));
            let says = rest.clone().any(|line| {
                line.starts_with("  ") || line.starts_with("For more information, try '--help'.")
            });
            assert!(says, "{file}: nothing is said of what to do about:  {line}");
        }
    }
}
