//! Keeps the layers of `docs/architecture.md`: who may name whom, and who may touch the machine.
//!
//! The rules are tables. If one is in the way, first ask whether the code lies in the right file; a
//! table is changed together with `docs/architecture.md`.

#[path = "layers/scan.rs"]
mod scan;

use std::fs;
use std::path::Path;

use scan::{Name, Source};

/// The modules of `core` and their layers, lowest first. Imports go down or sideways.
const LAYERS: [(&str, u8); 23] = [
    ("types", 0),
    ("path", 0),
    ("error", 0),
    ("code", 1),
    ("quorum", 1),
    ("range", 1),
    ("fence", 1),
    ("health", 1),
    ("chronicle", 1),
    ("ladder", 1),
    ("metrics", 1),
    ("names", 1),
    ("session", 1),
    ("status", 1),
    ("throttle", 1),
    ("wire", 1),
    ("io", 2),
    ("node", 3),
    ("cluster", 3),
    ("catalog", 3),
    ("remote", 3),
    ("serve", 4),
    // The list of the modules itself, `core/mod.rs`.
    ("", 9),
];

/// Below this layer nothing of the machine is named.
const PURE_BELOW: u8 = 2;

/// The rooms of layer 3. What lies in different rooms meets in `wire` only.
const ROOMS: [(&str, &[&str]); 3] =
    [("node", &["node"]), ("server", &["cluster", "catalog"]), ("client", &["remote"])];

/// Which parts of layers 3 and 4 a subcommand may see, by the beginning of its file's name.
const SEEN_BY: [(&str, &[&str]); 11] = [
    ("src/cmd/admin/recover.rs", &["serve"]),
    ("src/cmd/admin", &["remote"]),
    ("src/cmd/storage", &["node"]),
    ("src/cmd/rescue", &["node"]),
    ("src/cmd/server", &["serve"]),
    ("src/cmd/client", &["remote"]),
    ("src/cmd/status", &["remote"]),
    // Asks nodes whom they serve, as a server does before it starts.
    ("src/cmd/doctor/nodes.rs", &["cluster"]),
    ("src/cmd/doctor", &["remote"]),
    // A progress bar shows how far the client's half is.
    ("src/cmd/env", &["remote"]),
    ("src/cmd/demo", &["node", "cluster", "catalog", "remote", "serve"]),
];

/// Where each outside crate is at home.
const HOMES: [(&str, &[&str]); 44] = [
    ("anyhow", &["src/cmd/"]),
    ("argon2", &["src/core/catalog/"]),
    // The two ends of a transfer: the door that receives a file and the client's half. The demo shows
    // that what came back is what was stored, a rescued file has to be it, and where nodes disagree
    // the digest says which of them are right. The tree of a digest. The journal's chain.
    (
        "blake3",
        &[
            "src/core/serve/",
            "src/core/code/digest.rs",
            "src/core/cluster/audit.rs",
            "src/core/remote",
            "src/core/node/rescue",
            "src/core/wire/journal.rs",
            "src/cmd/demo",
        ],
    ),
    ("bytesize", &["src/cmd/"]),
    ("clap", &["src/cmd/"]),
    ("clap_complete", &["src/cmd/completions.rs"]),
    ("clap_mangen", &["src/cmd/man.rs"]),
    ("comfy_table", &["src/cmd/status/", "src/cmd/admin/user.rs"]),
    ("crc_fast", &["src/core/code/checksum.rs"]),
    ("ctrlc", &["src/cmd/env/"]),
    ("globset", &["src/cmd/client/glob.rs"]),
    ("hyper", &["src/core/io/http", "src/core/io/monitor.rs", "src/core/serve/web"]),
    ("ignore", &["src/cmd/client/folder/walk.rs"]),
    ("indicatif", &["src/cmd/env/"]),
    (
        "jiff",
        &[
            "src/cmd/",
            "src/core/error.rs",
            "src/core/wire/web/date.rs",
            "src/core/serve/history.rs",
            "src/core/serve/schedule.rs",
        ],
    ),
    ("memmap2", &["src/core/io/pages.rs"]),
    // SIGHUP, which the crate for the other signals cannot tell from them.
    ("nix", &["src/cmd/env/hangup.rs"]),
    ("prometheus_client", &["src/core/metrics"]),
    ("plotters", &["src/cmd/client/rate/picture.rs"]),
    ("postcard", &["src/core/wire/"]),
    // In core one source, which a simulation can seed; the command line needs names that are free.
    ("rand", &["src/core/io/random.rs", "src/cmd/client/local.rs", "src/cmd/demo"]),
    ("rcgen", &["src/core/io/tls"]),
    ("roxmltree", &["src/core/wire/web"]),
    ("rpassword", &["src/cmd/env"]),
    ("rusqlite", &["src/core/catalog/"]),
    ("rustls", &["src/core/io/tls"]),
    ("rustls_native_certs", &["src/core/io/tls"]),
    ("rustix", &["src/core/io/"]),
    ("rustyline", &["src/cmd/env"]),
    ("sd_notify", &["src/cmd/service/notify.rs"]),
    // What a person is told, and how the admin socket and its like say it.
    ("serde_json", &["src/cmd/", "src/core/wire/admin.rs", "src/core/wire/web/json.rs"]),
    ("shlex", &["src/cmd/"]),
    ("tracing_subscriber", &["src/cmd/service"]),
    // A file of settings each.
    (
        "toml",
        &["src/core/node/identity.rs", "src/cmd/client/settings.rs", "src/cmd/service/config.rs"],
    ),
    ("toml_edit", &["src/cmd/demo/profile.rs", "src/cmd/client/config/set.rs"]),
    // The same password from every keyboard.
    ("unicode_normalization", &["src/core/catalog/accounts.rs"]),
    // How many columns a name takes on a terminal.
    ("unicode_width", &["src/cmd/status/", "src/cmd/env/progress/"]),
    ("walkdir", &["src/cmd/client/folder/walk.rs"]),
    ("zip", &["src/core/serve/web/zip.rs"]),
    // Tools of the language rather than of one room; the pure layer has no threads and no log.
    ("crossbeam_channel", NOT_PURE),
    ("parking_lot", NOT_PURE),
    ("tracing", NOT_PURE),
    ("serde", &["src/"]),
    ("thiserror", &["src/"]),
];

const NOT_PURE: &[&str] = &[
    "src/cmd/",
    "src/core/io/",
    "src/core/node/",
    "src/core/cluster/",
    "src/core/catalog/",
    "src/core/remote",
    "src/core/serve/",
];

/// What of `std` is the machine's.
const MACHINE: [&[&str]; 9] = [
    &["std", "fs"],
    &["std", "io"],
    &["std", "net"],
    &["std", "os"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "env"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
];

// ---- the rules ----

#[test]
fn imports_go_down_or_sideways_and_never_up() {
    check(imports_upwards);
}

#[test]
fn the_three_rooms_never_import_each_other() {
    check(imports_of_another_room);
}

#[test]
fn a_subcommand_sees_its_own_room_and_only_the_demo_sees_all() {
    check(rooms_that_a_subcommand_must_not_see);
}

#[test]
fn core_never_imports_cmd() {
    check(imports_of_cmd);
}

#[test]
fn the_pure_layers_name_nothing_of_the_machine() {
    check(machine_in_pure_layers);
}

#[test]
fn files_sockets_and_the_wall_clock_are_opened_in_io_only() {
    check(machine_outside_io);
}

#[test]
fn core_never_ends_the_process_and_never_reads_its_environment() {
    check(process_in_core);
}

#[test]
fn core_never_prints() {
    check(prints_in_core);
}

#[test]
fn only_env_touches_the_terminal() {
    check(terminal_outside_env);
}

#[test]
fn every_outside_crate_stays_at_home() {
    check(crates_away_from_home);
}

#[test]
fn every_outside_crate_has_a_home() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for name in manifest["dependencies"].as_table().unwrap().keys() {
        let name = name.replace('-', "_");
        assert!(
            HOMES.iter().any(|(known, _)| *known == name),
            "Cargo.toml depends on {name}, which has no home: add it to HOMES in tests/layers.rs"
        );
    }
}

#[test]
fn every_module_of_core_has_a_layer() {
    for source in sources().iter().filter(|source| source.file.starts_with("src/core/")) {
        let module = source.module.get(1).map_or("", String::as_str);
        assert!(
            layer_of(module).is_some(),
            "{}: core::{module} has no layer: add it to LAYERS in tests/layers.rs",
            source.file
        );
    }
}

#[test]
fn every_source_file_has_a_line_in_the_architecture() {
    let document = read("docs/architecture.md");
    for source in sources() {
        assert!(
            document.contains(&format!("| `{}` |", source.file)),
            "{} has no line in docs/architecture.md",
            source.file
        );
    }
}

// ---- what breaks them ----

/// A broken rule: where, and what to say.
type Broken = (usize, String);

fn imports_upwards(source: &Source) -> Vec<Broken> {
    let Some(own) = own_layer(source) else { return Vec::new() };
    each(source, |name| {
        let module = module_of_core(name)?;
        let layer = layer_of(module).unwrap_or(u8::MAX);
        (layer > own).then(|| {
            format!("{} is above this file: it is in layer {layer}, this in {own}", name.text())
        })
    })
}

fn imports_of_another_room(source: &Source) -> Vec<Broken> {
    if own_layer(source) != Some(3) {
        return Vec::new();
    }
    let own = room_of(&source.module[1]);
    each(source, |name| {
        let room = room_of(module_of_core(name)?)?;
        (Some(room) != own).then(|| {
            format!("{} is in the room {room:?}; what two rooms share goes to wire", name.text())
        })
    })
}

fn rooms_that_a_subcommand_must_not_see(source: &Source) -> Vec<Broken> {
    if !source.file.starts_with("src/cmd/") {
        return Vec::new();
    }
    let seen = SEEN_BY.iter().find(|(file, _)| source.file.starts_with(file));
    let seen = seen.map_or(&[][..], |(_, seen)| seen);
    each(source, |name| {
        let module = module_of_core(name)?;
        let is_room = layer_of(module).is_none_or(|layer| layer >= 3);
        (is_room && !seen.contains(&module))
            .then(|| format!("{} is not for this subcommand: see SEEN_BY", name.text()))
    })
}

fn imports_of_cmd(source: &Source) -> Vec<Broken> {
    in_core(source, |name| {
        name.is_below(&["crate", "cmd"]).then(|| format!("{} is the command line", name.text()))
    })
}

fn machine_in_pure_layers(source: &Source) -> Vec<Broken> {
    if own_layer(source).is_none_or(|layer| layer >= PURE_BELOW) {
        return Vec::new();
    }
    each(source, |name| {
        // An error carries what the system said, as a value.
        let allowed = source.file == "src/core/error.rs" && name.is_below(&["std", "io"]);
        let machine = MACHINE.iter().any(|parts| name.is_below(parts));
        (machine && !allowed).then(|| format!("{} is the machine's; pass in a value", name.text()))
    })
}

fn machine_outside_io(source: &Source) -> Vec<Broken> {
    if source.file.starts_with("src/core/io/") {
        return Vec::new();
    }
    in_core(source, |name| {
        let opens = name.is_below(&["std", "fs"])
            || name.is_below(&["std", "time", "SystemTime"])
            || ["TcpListener", "UdpSocket", "ToSocketAddrs"]
                .iter()
                .any(|word| name.parts.iter().any(|part| part == word))
            || name.parts.ends_with(&["TcpStream".to_owned(), "connect".to_owned()])
            || name.parts.ends_with(&["TcpStream".to_owned(), "connect_timeout".to_owned()]);
        opens.then(|| format!("{} opens something; only core::io does that", name.text()))
    })
}

fn process_in_core(source: &Source) -> Vec<Broken> {
    in_core(source, |name| {
        (name.is_below(&["std", "process"]) || name.is_below(&["std", "env"]))
            .then(|| format!("{} belongs to the command line", name.text()))
    })
}

const PRINTING: [&str; 5] = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];

fn prints(name: &Name) -> Option<String> {
    let last = name.parts.last()?;
    PRINTING.contains(&last.as_str()).then(|| format!("{last} prints"))
}

fn prints_in_core(source: &Source) -> Vec<Broken> {
    in_core(source, prints)
}

fn terminal_outside_env(source: &Source) -> Vec<Broken> {
    if source.file == "src/cmd/env.rs" || source.file.starts_with("src/cmd/env/") {
        return Vec::new();
    }
    let mut broken = each(source, prints);
    for word in ["stdin", "stdout", "stderr"] {
        // The log is set up there, and goes to standard error.
        if word == "stderr" && source.file.starts_with("src/cmd/service") {
            continue;
        }
        let lines = source.lines_with_word(word).into_iter();
        broken.extend(lines.map(|line| (line, format!("{word} is the terminal: use Env"))));
    }
    broken
}

fn crates_away_from_home(source: &Source) -> Vec<Broken> {
    each(source, |name| {
        let (named, homes) = HOMES.iter().find(|(crate_name, _)| name.parts[0] == *crate_name)?;
        let at_home = homes.iter().any(|home| source.file.starts_with(home));
        (!at_home).then(|| format!("{named} is at home in {}", homes.join(", ")))
    })
}

// ---- the tables read ----

fn layer_of(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn room_of(module: &str) -> Option<&'static str> {
    ROOMS.iter().find(|(_, modules)| modules.contains(&module)).map(|(room, _)| *room)
}

/// The layer of a file of `core`.
fn own_layer(source: &Source) -> Option<u8> {
    match source.module.as_slice() {
        [first] if first == "core" => layer_of(""),
        [first, module, ..] if first == "core" => layer_of(module),
        _ => None,
    }
}

/// `io` for `crate::core::io::net`; nothing for what is not in `core`.
fn module_of_core(name: &Name) -> Option<&str> {
    name.is_below(&["crate", "core"]).then(|| name.parts.get(2).map_or("", String::as_str))
}

fn in_core(source: &Source, rule: impl Fn(&Name) -> Option<String>) -> Vec<Broken> {
    if source.file.starts_with("src/core/") { each(source, rule) } else { Vec::new() }
}

fn each(source: &Source, rule: impl Fn(&Name) -> Option<String>) -> Vec<Broken> {
    source.names().iter().filter_map(|name| Some((name.line, rule(name)?))).collect()
}

// ---- the files ----

fn check(rule: fn(&Source) -> Vec<Broken>) {
    let mut report = String::new();
    for source in sources() {
        for (line, what) in rule(&source) {
            report.push_str(&format!("\n  {}:{line}: {what}", source.file));
        }
    }
    assert!(report.is_empty(), "the layers of docs/architecture.md are broken:{report}");
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Every file of `src`, without those that are compiled for tests only.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    files.sort();
    let all: Vec<Source> = files
        .iter()
        .map(|path| {
            let file = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            Source::new(&file, &read(&file))
        })
        .collect();
    assert!(all.len() > 50, "only {} files were found", all.len());
    let mut for_tests = Vec::new();
    for source in &all {
        for module in &source.test_modules {
            for_tests.push([source.module.as_slice(), std::slice::from_ref(module)].concat());
        }
    }
    all.into_iter()
        .filter(|source| !for_tests.iter().any(|module| source.module.starts_with(module)))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

// ---- the scanner can fail ----

fn names(file: &str, text: &str) -> Vec<(usize, String)> {
    Source::new(file, text).names().iter().map(|name| (name.line, name.text())).collect()
}

#[test]
fn paths_are_found_in_uses_with_braces_and_in_code() {
    let text = "use crate::core::{io::net::{Stream, self as n},\n    wire::*};\n\
                fn f() -> Vec::<u8> { std::fs::read(\"x\"); println!(\"a::b\") }";
    let expected = [
        (1, "crate::core::io::net::Stream"),
        (1, "crate::core::io::net"),
        (2, "crate::core::wire"),
        (3, "std::fs::read"),
        (3, "println!"),
    ];
    assert_eq!(names("src/core/x.rs", text), expected.map(|(line, name)| (line, name.to_owned())));
}

#[test]
fn super_and_self_are_counted_from_the_files_own_module() {
    let of = |file, text| names(file, text).remove(0).1;
    assert_eq!(of("src/core/wire/node.rs", "use super::lines;"), "crate::core::wire::lines");
    assert_eq!(of("src/core/wire/mod.rs", "use super::io::net;"), "crate::core::io::net");
    assert_eq!(of("src/core/a/b.rs", "use super::super::io::net;"), "crate::core::io::net");
    assert_eq!(of("src/cmd/mod.rs", "use self::env::Env;"), "crate::cmd::env::Env");
    assert_eq!(of("src/main.rs", "fn main() { palk::cmd::run() }"), "crate::cmd::run");
}

#[test]
fn comments_strings_characters_and_tests_name_nothing() {
    for text in [
        "// std::fs::read\n/* std::fs /* a::b */ std::net */",
        "const A: &str = \"std::fs \\\" a::b\";",
        "const A: &str = r#\"std::fs \" a::b\"#; const B: &[u8] = br\"a::b\";",
        "const A: [char; 3] = ['\"', '\\'', '\\u{2}']; // a::b \"",
        "#[cfg(test)]\nmod tests { use super::*; fn f() { a::b() } }",
        "#[cfg(test)]\n#[path = \"x.rs\"]\npub(crate) mod tests;",
        "fn f<'a>(x: &'a str) -> &'a str { x }",
    ] {
        assert!(names("src/core/x.rs", text).is_empty(), "{text}");
    }
}

#[test]
fn a_module_for_tests_in_a_file_of_its_own_is_known() {
    let source = Source::new("src/core/x.rs", "#[cfg(test)]\npub(crate) mod tests;\nmod own;");
    assert_eq!(source.test_modules, ["tests"]);
}

#[test]
fn what_stands_behind_a_test_still_counts() {
    let text = "#[cfg(test)]\nfn only(x: [u8; 2]) { a::b() }\nuse std::fs;";
    assert_eq!(names("src/core/x.rs", text), [(3, "std::fs".to_owned())]);
}

/// A rule, a file name and a line of it that breaks the rule, and one that does not.
type Sample = (fn(&Source) -> Vec<Broken>, &'static str, &'static str, &'static str);

#[test]
fn every_rule_notices_when_it_is_broken() {
    let samples: [Sample; 14] = [
        (imports_upwards, "src/core/wire/x.rs", "use crate::core::io::net;", "use super::node;"),
        (imports_upwards, "src/core/io/x.rs", "use crate::core;", "use crate::core::wire::node;"),
        (imports_upwards, "src/core/types.rs", "use super::wire::node;", "use super::error;"),
        (
            imports_of_another_room,
            "src/core/node/x.rs",
            "use crate::core::{cluster::volume};",
            "use crate::core::node::store;",
        ),
        (
            imports_of_another_room,
            "src/core/catalog/x.rs",
            "fn f() { crate::core::remote::f() }",
            "use crate::core::cluster::volume;",
        ),
        (
            rooms_that_a_subcommand_must_not_see,
            "src/cmd/storage.rs",
            "use crate::core::cluster::link;",
            "use crate::core::node::store;",
        ),
        (
            rooms_that_a_subcommand_must_not_see,
            "src/cmd/service.rs",
            "use crate::core::serve::server;",
            "use crate::core::io::listener;",
        ),
        (imports_of_cmd, "src/core/x.rs", "use crate::cmd::env::Env;", "use crate::core::io::x;"),
        (
            machine_in_pure_layers,
            "src/core/session/x.rs",
            "use std::time::{Duration, Instant};",
            "use std::time::Duration;",
        ),
        (
            machine_outside_io,
            "src/core/serve/x.rs",
            "use std::net::{TcpListener, SocketAddr};",
            "use std::net::{TcpStream, SocketAddr};",
        ),
        (process_in_core, "src/core/io/x.rs", "use std::process;", "use std::fs;"),
        (prints_in_core, "src/core/io/x.rs", "fn f() { eprintln!() }", "fn f() { write!(x) }"),
        (
            terminal_outside_env,
            "src/cmd/server.rs",
            "use std::io::{self, stdout};",
            "fn f(c: Command) { c.stdout(x) }",
        ),
        (
            crates_away_from_home,
            "src/core/serve/x.rs",
            "use rusqlite::Connection;",
            "use blake3::Hasher;",
        ),
    ];
    for (rule, file, bad, good) in samples {
        let text = format!("\n{bad}");
        let broken = rule(&Source::new(file, &text));
        assert_eq!(broken.len(), 1, "{file}: {bad}: {broken:?}");
        assert_eq!(broken[0].0, 2, "the line");
        assert!(rule(&Source::new(file, good)).is_empty(), "{file}: {good}");
    }
}
