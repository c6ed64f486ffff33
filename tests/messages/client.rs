//! What the client says of the command line, of files there and here, and of folders.

use std::fs;

use super::*;
use crate::support::until;

#[test]
fn a_command_line_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Transcript::in_folder(folder.path());
    for line in [
        "palk fly",
        "palk client --colour",
        "palk client store",
        "palk client --json rtv",
        "palk client inf --user demo",
        "palk client --server http://127.0.0.1 inf",
        "palk client --profile office inf",
        "palk client rtv film.mkv --range 9-0 --to part",
        "palk client rtv film.mkv --range 0-9",
        "palk client rtv -r photos --to -",
        "palk client store - ",
        "palk client --no-input",
        "palk storage --id 5",
        "palk server --node 127.0.0.1:1",
        "palk server --max-file-size much",
        "palk completions tcsh",
        "palk rescue files_1 --out rescued",
        "PALK_PASSWORD_FILE=a PALK_PASSWORD_COMMAND=b palk client inf",
    ] {
        shell.line(line);
    }
    shell.line("mkdir -p home/palk; echo 'server = 7' > home/palk/config.toml; palk client inf");
    shell.line("echo '[profile.a]\nfingerprint = \"x\"' > home/palk/config.toml; palk client --profile a inf");
    shell.line("palk client config set colour red");
    shell.is("command-line");
}

#[test]
fn files_that_are_not_there_in_the_way_or_too_big() {
    let cluster = Cluster::start_with(&["--max-file-size", "1MB", "--keep-versions", "7d"]);
    let mut shell = Transcript::of(&cluster);
    shell.redact_like("[MOMENT]", r"at (?<redacted>\d{4}-\d\d-\d\dT[0-9:]+Z)");
    shell.redact_like("[PORT]", r"from 127\.0\.0\.1:(?<redacted>\d+)");
    fs::write(cluster.path("small"), "small").unwrap();
    fs::write(cluster.path("big"), vec![0; 1_000_001]).unwrap();
    for line in [
        "palk client store small --to reports/2026",
        "palk client rtv nothing",
        "palk client rtv no/folder/here",
        "palk client rtv -r nothing --to back",
        "palk client del nothing",
        "palk client del -r nothing --yes",
        "palk client del -r reports",
        "palk client inf nothing",
        "palk client cat nothing",
        "palk client du nothing",
        "palk client find '[' --type f",
        "palk client mv nothing there",
        "palk client cp nothing there",
        "palk client update small",
        "palk client versions nothing",
        "palk client undo nothing",
        "palk client rmdir reports",
        "palk client rmdir nothing",
        "palk client mkdir reports",
        "palk client mkdir a/b/c",
        "palk client mv reports reports/2026/in",
        "palk client store small --as other",
        "palk client mv other reports/2026/small",
        "palk client store small --as reports",
        "palk client store small --to other",
        "palk client store small --to reports/2026 --no-replace",
        "palk client update small --to reports/2026 --if-version 00000000000000000000000000000000",
        "palk client update small --to reports/2026 --if-version 1",
        "palk client store small --to ../up",
        "palk client store small --as \"$(printf 'a%.0s' {1..300})\"",
        "palk client store big",
        "palk client store missing",
        "palk client store reports",
        "palk client store missing small",
        "palk client store -r missing",
        "palk client store small --rate rate.txt",
        "palk client store - --as empty < /dev/null",
        "palk client store --command 'exit 3' --as dump",
        "palk client rtv reports/2026/small --to small --no-replace",
        "chmod 400 small; palk client rtv reports/2026/small --to small",
        "palk client rtv reports/2026/small --to small/in",
        "palk client rtv -r reports --to small",
        "palk client rtv reports/2026/small --range 5- --to part",
        "palk client rtv reports/2026/small --at yesterday --to part",
        "palk client check small reports",
        "palk client check absent reports",
        "palk client sync small reports",
        "palk client sync absent :reports",
        "palk client signup",
        "palk client rtv reports/2026/small --to - > /dev/full",
        "palk client --json rtv nothing",
        "printf 'RTV nothing\\nINF\\n' | palk client",
    ] {
        shell.line(line);
    }
    shell.is("files");
}

/// Has this process a handler for SIGINT, and is it no shell any more?
fn awaits_interruptions(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    field("Name:") == "palk" && u64::from_str_radix(&field("SigCgt:"), 16).unwrap() & 2 != 0
}

#[test]
fn an_interruption() {
    let cluster = Cluster::start();
    let mut shell = Transcript::of(&cluster);
    let line = "palk client store - --as piped";
    let mut command = shell.command(&format!("exec {line}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _input = child.stdin.take();
    until("it can be interrupted", || awaits_interruptions(child.id()));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    shell.note("Ctrl-C while it runs");
    let output = child.wait_with_output().unwrap();
    shell.ended(line, &output);
    shell.is("interrupted");
}
