//! The command lines of `README.md` and `docs/operations.md`, carried out in the order in which they are
//! shown, in a folder that stands for all machines: 10.0.0.1 and its like are loopback addresses, and
//! `/etc`, `/srv` and `/var` lie in the folder.
//!
//! Every line is run as it is shown and has to end well, unless a case says otherwise. So a line that is new
//! needs nothing here, unless it needs something that is not shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;

use crate::support::{HANG, PASSWORD, Process, palk};

/// What is to be known about a line that is shown.
pub(crate) enum Case {
    /// A shell does this first.
    After(&'static str),
    /// These services run first; one that runs there already is stopped.
    Starts(&'static [&'static str]),
    /// The server is stopped first.
    ServerStopped,
    /// With these words at the end, for what is asked at a terminal or stands elsewhere.
    With(&'static str),
    /// With this as its input.
    Input(&'static str),
    /// It goes on until somebody interrupts it, which is done soon.
    Endless,
    /// It is not run, for this reason.
    Not(&'static str),
}

/// Programs of others, and why their lines are not run.
const OTHERS: [(&str, &str); 10] = [
    ("apt", "installs the package: docs/packaging.md says how that was tried"),
    ("bash", "runs all tests, or fuzzes"),
    ("cargo", "builds, or runs tests that take long"),
    ("cd", "every command is run in one folder"),
    ("chown", "changes owners"),
    ("echo", "writes a setting of the kernel"),
    ("install", "changes owners"),
    ("journalctl", "reads a log that is not there"),
    ("sysctl", "changes settings of the kernel"),
    ("systemctl", "needs a service manager: cases say what is started in its place"),
];

/// A line of a block of commands.
#[derive(PartialEq, Eq, Debug)]
struct Shown {
    line: usize,
    /// Without its comment.
    text: String,
    comment: String,
}

/// A file that is shown, with its name in a comment on its first line.
#[derive(PartialEq, Eq, Debug)]
struct ShownFile {
    name: String,
    text: String,
}

#[derive(PartialEq, Eq, Debug)]
enum Item {
    Line(Shown),
    File(ShownFile),
}

/// All command lines and files of a document, in order.
fn items(document: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let is_hidden = line.starts_with("    ") && line.trim_start().starts_with("palk ");
        assert!(!is_hidden, "line {}: commands are shown in blocks of sh, and so run", at + 1);
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let is_inside = |line: &str| !line.trim_start().starts_with("```");
        let block: Vec<_> = lines.by_ref().take_while(|(_, line)| is_inside(line)).collect();
        match language {
            "sh" => items.extend(command_lines(&block).into_iter().map(Item::Line)),
            "toml" => items.extend(file(&block).map(Item::File)),
            other => panic!("line {}: a block of {other:?} is neither sh nor toml", at + 1),
        }
    }
    items
}

fn command_lines(block: &[(usize, &str)]) -> Vec<Shown> {
    let mut shown = Vec::new();
    let mut begun = String::new();
    for (at, line) in block {
        begun.push_str(line.trim());
        if let Some(open) = begun.strip_suffix('\\') {
            begun = open.to_owned();
            continue;
        }
        let whole = std::mem::take(&mut begun);
        let (text, comment) = whole.split_once(" #").unwrap_or((&whole, ""));
        if !text.is_empty() {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            shown.push(Shown { line: at + 1, text, comment: comment.trim().to_owned() });
        }
    }
    shown
}

fn file(block: &[(usize, &str)]) -> Option<ShownFile> {
    let name = block.first()?.1.strip_prefix("# ")?.split_whitespace().last()?.to_owned();
    let text = block.iter().map(|(_, line)| format!("{line}\n")).collect();
    Some(ShownFile { name, text })
}

/// The folder, and what runs in it.
struct Machines {
    folder: tempfile::TempDir,
    /// The network of this process: `127.0.N.`
    network: String,
    places: Regex,
    variables: Vec<(&'static str, String)>,
    services: BTreeMap<String, Process>,
}

impl Machines {
    fn new(
        variables: &[(&'static str, &str)],
        files: &[&str],
        programs: &[(&str, &str)],
    ) -> Machines {
        let folder = tempfile::tempdir().unwrap();
        let network = format!("127.0.{}.", std::process::id() % 250 + 2);
        let places = Regex::new(r#"(^|[\s="'])/(etc|srv|var)/"#).unwrap();
        let mut machines =
            Machines { folder, network, places, variables: Vec::new(), services: BTreeMap::new() };
        machines.variables =
            variables.iter().map(|(name, value)| (*name, machines.placed(value))).collect();
        machines.write("password", PASSWORD);
        files.iter().for_each(|name| machines.write(name, &format!("{name}\n").repeat(100_000)));
        for (name, script) in programs {
            machines.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        }
        machines.shell("chmod -R +x bin; mkdir -p etc/systemd/system srv var/lib");
        machines
    }

    /// A text of a document, for here.
    fn placed(&self, text: &str) -> String {
        let text = text.replace("10.0.0.", &self.network);
        let own = format!("{}1", self.network);
        let text = text.replace("127.0.0.1", &own).replace("0.0.0.0", &own);
        let at = format!("$1{}/$2/", self.folder.path().display());
        self.places.replace_all(&text, at).into_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_palk")).parent().unwrap();
        let mut shell = Command::new("bash");
        for (name, _) in palk().get_envs() {
            shell.env_remove(name);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let folder = self.folder.path();
        let bin = folder.join("bin");
        shell.env("PATH", format!("{}:{}:{path}", program.display(), bin.display()));
        shell.env("HOME", folder).env_remove("XDG_CONFIG_HOME");
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        shell.current_dir(folder).args(["-c", line]).stdin(Stdio::null());
        shell
    }

    /// Runs a line that has to end well.
    fn shell(&self, line: &str) {
        self.shell_with(line, "");
    }

    fn shell_with(&self, line: &str, input: &str) {
        let mut command = assert_cmd::Command::from_std(self.command(line));
        let assert = command.write_stdin(input).timeout(HANG).assert();
        assert!(assert.get_output().status.success(), "{line}: {assert}");
    }

    /// Starts a node or server, in place of the one that is there.
    fn start(&mut self, line: &str) {
        let words = shlex::split(line).unwrap();
        let is_server = words[1] == "server";
        let key = match words.iter().position(|word| word == "--listen") {
            Some(at) if !is_server => words[at + 1].clone(),
            _ => words[1].clone(),
        };
        self.stop(&key);
        // What the test appends to the command line is `$0`.
        let process = Process::start(self.command(&format!("exec {line} \"$0\"")));
        process.says(if is_server { "Connected to all data servers." } else { "listening on " });
        self.services.insert(key, process);
    }

    fn stop(&mut self, key: &str) {
        if let Some(mut process) = self.services.remove(key) {
            process.signal("-TERM");
            assert_eq!(process.wait(), Some(0), "{}", process.log());
        }
    }
}

/// A document whose lines are carried out.
pub(crate) struct Story {
    pub(crate) document: &'static str,
    pub(crate) cases: &'static [(&'static str, Case)],
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// Files of 100,000 lines.
    pub(crate) files: &'static [&'static str],
    /// Programs that others have, as scripts.
    pub(crate) programs: &'static [(&'static str, &'static str)],
}

impl Story {
    pub(crate) fn is_carried_out(&self) {
        let at = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.document);
        let items = items(&fs::read_to_string(at).unwrap());
        self.check_cases(&items);
        let mut machines = Machines::new(self.variables, self.files, self.programs);
        for item in items {
            match item {
                Item::File(file) => {
                    let placed = machines.placed(&file.text);
                    machines.write(&file.name, &placed);
                }
                Item::Line(shown) => self.carry_out(&shown, &mut machines),
            }
        }
    }

    /// A case for a line that is not shown any more is to be removed.
    fn check_cases(&self, items: &[Item]) {
        let is_shown = |text: &str| {
            items.iter().any(|item| matches!(item, Item::Line(shown) if shown.text == text))
        };
        for (text, _) in self.cases {
            assert!(is_shown(text), "{} does not show:  {text}", self.document);
        }
    }

    fn carry_out(&self, shown: &Shown, machines: &mut Machines) {
        let place = format!("{}:{}: {}", self.document, shown.line, shown.text);
        let cases: Vec<&Case> = self
            .cases
            .iter()
            .filter(|(text, _)| *text == shown.text)
            .map(|(_, case)| case)
            .collect();
        let mut line = shown.text.replace("cargo run --release -- ", "palk ");
        if let Some(machine) = shown.comment.strip_prefix("on 10.0.0.") {
            line = line.replace("0.0.0.0", &format!("10.0.0.{machine}"));
        }
        let (mut input, mut is_endless) = ("", false);
        for case in cases {
            match case {
                Case::Not(why) => {
                    println!("{place}\n  is not run: {why}");
                    return;
                }
                Case::After(script) => machines.shell(&machines.placed(script)),
                Case::Starts(services) => services.iter().for_each(|service| {
                    let service = machines.placed(service);
                    machines.start(&service);
                }),
                Case::ServerStopped => machines.stop("server"),
                Case::With(words) => line = format!("{line} {words}"),
                Case::Input(text) => input = *text,
                Case::Endless => is_endless = true,
            }
        }
        let line = machines.placed(&line);
        // Variables may stand before the program.
        let mut words = line.split(' ').skip_while(|word| word.contains('='));
        let program = words.next().unwrap_or_default();
        if !["palk", "sed"].contains(&program) {
            let is_known = OTHERS.iter().any(|(name, _)| *name == program);
            assert!(is_known, "{place}\nis not run by this test: say why in OTHERS, or run it");
            return;
        }
        println!("{place}");
        let is_service = words.next().is_some_and(|word| ["server", "storage"].contains(&word));
        if is_service && !line.contains("--print-unit") {
            machines.start(&line);
        } else if is_endless {
            machines.shell(&format!("timeout --signal=INT 2 {line}; [ $? = 124 ]"));
        } else {
            machines.shell_with(&line, input);
        }
    }
}

#[test]
fn lines_and_files_are_found_in_blocks() {
    let text = "```sh\npalk server --key k \\\n  --node a    # on 10.0.0.1\n\nls\n```\n\n   \
                ```sh\n   palk demo\n   ```\n```toml\n# palk server --config p.toml\nid = 1\n```\n\
                ```toml\n[a]\n```\n    What it prints\n";
    let line = |line, text: &str, comment: &str| {
        Item::Line(Shown { line, text: text.into(), comment: comment.into() })
    };
    let file =
        ShownFile { name: "p.toml".into(), text: "# palk server --config p.toml\nid = 1\n".into() };
    assert_eq!(
        items(text),
        [
            line(3, "palk server --key k --node a", "on 10.0.0.1"),
            line(5, "ls", ""),
            line(9, "palk demo", ""),
            Item::File(file),
        ]
    );
}
