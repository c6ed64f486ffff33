//! Every `palk` command line in the documents is one that this program takes: the subcommand and the
//! verb exist, and so does every long option. Those of `README.md` and `docs/operations.md` are carried
//! out as well ([`run`]).

#[path = "readme/run.rs"]
mod run;
#[path = "readme/stories.rs"]
mod stories;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A command line in a document.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Example {
    document: &'static str,
    line: usize,
    /// Without `palk` itself.
    words: Vec<String>,
}

/// Told of already and built on a branch of its own: take it out once it is there.
const COMING: [&str; 0] = [];

const DOCUMENTS: [&str; 13] = [
    "README.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/formats.md",
    "docs/monitoring.md",
    "docs/operations.md",
    "docs/packaging.md",
    "docs/protocol.md",
    "docs/reliability.md",
    "docs/security.md",
    "docs/undo.md",
    "fuzz/README.md",
    "docs/doors.md",
];

#[test]
fn every_command_line_in_the_documents_is_one_that_palk_takes() {
    let examples: Vec<Example> = DOCUMENTS
        .into_iter()
        .flat_map(|document| {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
            examples(document, &fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(examples.len() >= 10, "only {examples:?}");
    let mut wrong = String::new();
    for example in examples {
        if let Err(why) = check(&example.words) {
            let Example { document, line, words } = example;
            wrong.push_str(&format!("\n  {document}:{line}: palk {}: {why}", words.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "what the documents say does not work:{wrong}");
}

/// The command lines in code blocks and in `code spans`.
fn examples(document: &'static str, text: &str) -> Vec<Example> {
    let mut found = Vec::new();
    let mut in_block = false;
    let mut begun = String::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let pieces: Vec<String> = if in_block || line.starts_with("    ") {
            begun.push_str(line.trim());
            if let Some(open) = begun.strip_suffix('\\') {
                begun = open.to_owned();
                continue;
            }
            vec![std::mem::take(&mut begun)]
        } else {
            line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        for piece in pieces {
            found.extend(words_of(&piece).map(|words| Example { document, line: at + 1, words }));
        }
    }
    found
}

/// The words behind `palk`; nothing if this is no command line of it.
fn words_of(text: &str) -> Option<Vec<String>> {
    let text = text.trim_start_matches("$ ");
    let rest =
        text.strip_prefix("palk ").or_else(|| text.strip_prefix("cargo run --release -- "))?;
    let mut words = shlex::split(rest)?;
    if let Some(end) = words.iter().position(|word| ["#", "|", "<", ">", "&"].contains(&&**word)) {
        words.truncate(end);
    }
    // `palk 1` is a line of a hello.
    words.first()?.chars().all(|c| c.is_ascii_lowercase() || c == '-').then_some(words)
}

fn check(words: &[String]) -> Result<(), String> {
    let mut command: Vec<&str> = Vec::new();
    let mut known = help(&[]).ok_or("palk --help fails")?;
    // A verb may stand behind options.
    for word in words.iter().map(String::as_str) {
        if known.commands.contains(word) && command.len() < 2 {
            command.push(word);
            known = help(&command).ok_or("it has no help")?;
        } else if COMING.contains(&word) {
            return Ok(());
        } else if command.is_empty() && !word.starts_with('-') {
            return Err(format!("there is no subcommand {word}"));
        }
    }
    for word in words.iter().filter(|word| word.starts_with("--")) {
        let option = word.split('=').next().unwrap_or(word);
        if !known.options.contains(option) {
            return Err(format!("there is no option {option}"));
        }
    }
    Ok(())
}

/// What `--help` names.
struct Help {
    commands: BTreeSet<String>,
    options: BTreeSet<String>,
}

fn help(command: &[&str]) -> Option<Help> {
    let Output { status, stdout, .. } =
        Command::new(env!("CARGO_BIN_EXE_palk")).args(command).arg("--help").output().unwrap();
    status.success().then(|| read_help(&String::from_utf8(stdout).unwrap()))
}

fn read_help(text: &str) -> Help {
    let mut help = Help { commands: BTreeSet::new(), options: BTreeSet::new() };
    let mut in_commands = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            in_commands = line == "Commands:" || line == "Verbs:";
        }
        let mut words = line.split_whitespace().map(|word| word.trim_end_matches(','));
        if in_commands && line.starts_with("  ") && !line.starts_with("   ") {
            help.commands.extend(words.clone().next().map(str::to_owned));
        }
        if line.trim_start().starts_with('-') {
            help.options.extend(words.find(|word| word.starts_with("--")).map(str::to_owned));
        }
    }
    help
}

#[test]
fn command_lines_are_found_in_blocks_and_spans() {
    let text = "Run `palk storage --id 1`, say `palk 1`.\n\n```sh\npalk server \\\n  --listen a:1 \
                # here\ncargo run --release -- demo\n```\n\n    palk client store 'a b'\n";
    let found: Vec<_> = examples("x", text).into_iter().map(|e| (e.line, e.words)).collect();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        found,
        [
            (1, words("storage --id 1")),
            (5, words("server --listen a:1")),
            (6, words("demo")),
            (9, vec!["client".into(), "store".into(), "a b".into()]),
        ]
    );
}

#[test]
fn a_mistake_in_a_command_line_is_noticed() {
    let check = |text: &str| check(&words_of(text).unwrap());
    assert_eq!(check("palk client --user demo store a --to up"), Ok(()));
    assert_eq!(check("palk client --user=demo"), Ok(()));
    assert_eq!(check("palk --version"), Ok(()));
    assert!(check("palk frobnicate").is_err());
    assert!(check("palk storage --id 1 --colour").is_err());
    assert!(check("palk client inf --to up").is_err());
}

/// Tests that a document names as `binary::test_name`, the last word only of a longer path.
fn named_tests(text: &str) -> BTreeSet<(&str, &str)> {
    let is_name = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let parts =
        spans.filter_map(|span| Some((span.split_once("::")?.0, span.rsplit_once("::")?.1)));
    parts.filter(|(binary, test)| is_name(binary) && is_name(test)).collect()
}

/// The sources of a test binary: `tests/NAME.rs` and `tests/NAME/`, or all of `src/` for `palk`.
fn sources(binary: &str) -> String {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let mut folders = vec![home.join("src")];
    if binary != "palk" {
        text = fs::read_to_string(home.join(format!("tests/{binary}.rs"))).unwrap_or_default();
        folders = vec![home.join("tests").join(binary)];
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

fn is_test_in(sources: &str, test: &str) -> bool {
    let signature = format!("fn {test}(");
    let mut lines = sources.lines().map(str::trim_start);
    let mut before = "";
    lines.any(|line| {
        let is_it = line.starts_with(&signature) && before == "#[test]";
        before = line;
        is_it
    })
}

#[test]
fn every_test_that_the_document_on_reliability_names_is_there() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let text = fs::read_to_string(file).unwrap();
    let named = named_tests(&text);
    assert!(named.len() >= 40, "only {named:?}");
    let is_missing = |(binary, test): &&(&str, &str)| !is_test_in(&sources(binary), test);
    let missing: Vec<_> = named.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let found = named_tests("`sim::one_seed` and `palk::core::path::tests::x`, no `palk status`");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [("palk", "x"), ("sim", "one_seed")]);
    assert!(is_test_in(&sources("sim"), "one_seed"));
    assert!(!is_test_in(&sources("sim"), "checked"), "a function, and no test");
    assert!(!is_test_in(&sources("sim"), "one_see"));
    assert!(!is_test_in(&sources("volume"), "one_seed"), "of another binary");
    assert!(!is_test_in(&sources("no_such_binary"), "one_seed"));
}
