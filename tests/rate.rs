//! The recorded transfer rate, of real transfers.

mod support;

use std::fs;
use std::process::Output;

use support::{Cluster, noise};

const HEADER: &str = "seconds,bytes_per_second,rolling_average";

/// The numbers of a table, line by line.
fn table(text: &str) -> Vec<[f64; 3]> {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADER));
    let numbers = |line: &str| -> Vec<f64> {
        line.split(',').map(|number| number.parse().unwrap()).collect()
    };
    lines.map(|line| numbers(line).try_into().unwrap()).collect()
}

/// How many bytes the lines of a table come to.
fn bytes_in(table: &[[f64; 3]]) -> f64 {
    let starts = std::iter::once(0.0).chain(table.iter().map(|line| line[0]));
    table.iter().zip(starts).map(|([seconds, rate, _], start)| rate * (seconds - start)).sum()
}

/// The average of a line is what the latest 60 lines moved, over the time that they took.
fn assert_rolling(table: &[[f64; 3]]) {
    for (at, [seconds, _, average]) in table.iter().enumerate() {
        let first = (at + 1).saturating_sub(60);
        let since = if first == 0 { 0.0 } else { table[first - 1][0] };
        let moved = bytes_in(&table[..=at]) - bytes_in(&table[..first]);
        let expected = moved / (seconds - since);
        assert!((expected / average - 1.0).abs() < 1e-6, "line {at}: {expected} {average}");
    }
}

/// Are the tags of this XML text matched, and is everything between them escaped?
fn assert_is_xml(text: &str) {
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "{}", &rest[..at]);
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.to_owned()));
        } else if !tag.ends_with('/') && !tag.starts_with(['?', '!']) {
            open.push(tag.split_whitespace().next().unwrap().to_owned());
        }
    }
    assert!(open.is_empty() && text.starts_with("<svg"), "{open:?}");
}

fn succeeded(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{err}");
    err
}

#[test]
fn spec_4_the_rate_of_a_transfer_is_recorded_both_ways() {
    let cluster = Cluster::start();
    let bytes = noise(7, 12 << 20);
    fs::write(cluster.path("a <&> b.bin"), &bytes).unwrap();
    let err = succeeded(&cluster.client(&[
        "store",
        "a <&> b.bin",
        "--rate",
        "up.csv",
        "--rate",
        "up.svg",
    ]));
    assert!(err.contains("The transfer rate is recorded in up.csv\n"), "{err}");
    succeeded(&cluster.client(&["-q", "rtv", "a <&> b.bin", "--to", "-", "--rate", "down.csv"]));
    for name in ["up.csv", "down.csv"] {
        let table = table(&fs::read_to_string(cluster.path(name)).unwrap());
        assert!(table.len() > 1, "{name}: {table:?}");
        assert!(table.windows(2).all(|pair| pair[0][0] < pair[1][0]), "{name}: {table:?}");
        let sum = bytes_in(&table);
        assert!((sum - bytes.len() as f64).abs() < 1.0, "{name}: {sum} bytes");
        assert_rolling(&table);
    }
    let svg = fs::read_to_string(cluster.path("up.svg")).unwrap();
    assert_is_xml(&svg);
    for text in
        ["a &lt;&amp;&gt; b.bin, 12.6 MB", "B/s)", "Time since the start (", "rolling average"]
    {
        assert!(svg.contains(text), "{text}");
    }
    let left = fs::read_dir(cluster.folder.path()).unwrap();
    let hidden = left.filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".palk-")
    });
    assert_eq!(hidden.count(), 0, "no part of a file is left");
}

#[test]
fn one_recording_is_made_of_all_files_of_a_command() {
    let cluster = Cluster::start();
    for (name, length) in [("a", 3_000_000), ("b", 5), ("c", 0)] {
        fs::write(cluster.path(name), noise(1, length)).unwrap();
    }
    let files = ["store", "a", "b", "c", "--rate", "all.CSV", "--rate", "all.svg"];
    succeeded(&cluster.client(&files));
    let sum = bytes_in(&table(&fs::read_to_string(cluster.path("all.CSV")).unwrap()));
    assert!((sum - 3_000_005.0).abs() < 1.0, "{sum} bytes");
    let svg = fs::read_to_string(cluster.path("all.svg")).unwrap();
    assert!(svg.contains("3 files, 3.0 MB"), "{svg}");
    // One that fails is no reason to lose what was recorded of the others.
    let output = cluster.client(&["store", "a", "missing", "--rate", "some.csv"]);
    assert_eq!(output.status.code(), Some(3));
    let sum = bytes_in(&table(&fs::read_to_string(cluster.path("some.csv")).unwrap()));
    assert!((sum - 3_000_000.0).abs() < 1.0, "{sum} bytes");
}

#[test]
fn an_empty_file_has_a_table_without_lines_and_a_picture() {
    let cluster = Cluster::start();
    fs::write(cluster.path("empty"), "").unwrap();
    succeeded(&cluster.client(&["store", "empty", "--rate", "e.csv", "--rate", "e.svg"]));
    assert_eq!(fs::read_to_string(cluster.path("e.csv")).unwrap(), format!("{HEADER}\n"));
    let svg = fs::read_to_string(cluster.path("e.svg")).unwrap();
    assert_is_xml(&svg);
    assert!(svg.contains("empty, 0 B") && svg.contains("no bytes were moved"), "{svg}");
}

#[test]
fn a_recording_that_cannot_be_written_is_refused_before_anything_is_sent() {
    let cluster = Cluster::start();
    fs::write(cluster.path("a.csv"), "mine").unwrap();
    for (rate, status, text) in [
        ("no/where.csv", 13, "no/where.csv"),
        ("rate.png", 2, ".csv"),
        ("rate", 2, ".svg"),
        ("./a.csv", 2, "transferred itself"),
    ] {
        let output = cluster.client(&["store", "a.csv", "--rate", rate]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{rate}: {err}");
        assert!(err.contains(text), "{rate}: {err}");
    }
    assert_eq!(cluster.client(&["inf"]).stdout, b"", "nothing was stored");
    assert_eq!(fs::read(cluster.path("a.csv")).unwrap(), b"mine");
    // One that fails as a whole leaves no recording.
    let output = cluster.client(&["rtv", "missing", "--rate", "r.csv"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!cluster.path("r.csv").exists());
}
