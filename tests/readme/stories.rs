//! What has to be there, or is to be said, for single lines of the documents.

use super::run::Case::{After, Endless, Input, Not, ServerStopped, Starts, With};
use super::run::Story;

const NETWORK: &str = "asks or answers the whole network: tests/discovery.rs does both";

/// Waits until nothing is wrong and nothing is missing.
const HEALTHY: &str =
    "timeout 60 sh -c 'until palk status -x; do sleep 0.1; done' > said || (cat said; exit 1)";

#[rustfmt::skip]
const README: Story = Story {
    document: "README.md",
    variables: &[
        ("PALK_SERVER", "10.0.0.1:17777"),
        ("PALK_USER", "demo"),
        ("PALK_PASSWORD_FILE", "password"),
        ("PALK_KEY", "cluster.key"),
    ],
    files: &["photo.jpg", "a.txt", "b.txt", "film.mkv", "plan.txt", "video.mp4", "photos/1.jpg", "photos/x/2.jpg"],
    programs: &[("less", "exec cat"), ("pg_dump", "echo a table")],
    cases: &[
        ("palk client store - --as dump.sql", Input("a table")),
        ("palk client rtv reports/a.txt --no-replace", After("rm a.txt")),
        ("palk client rtv film.mkv --range 0-999999 --to start.mkv", After("palk client store film.mkv")),
        ("palk client del -r backup", With("--yes")),
        ("palk client mv reports/b.txt notes.txt", After("palk client store a.txt b.txt --to reports")),
        ("palk client du backup", After("palk client store -r photos --to backup")),
        ("palk client rmdir -r old", After("palk client mkdir old")),
        ("palk client rmdir -r old", With("--yes")),
        ("palk client rtv plan.txt --json", After("palk client store plan.txt")),
        ("palk client update plan.txt --if-version 5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c",
            With("| grep . || palk client update plan.txt")),
        ("palk server --listen 0.0.0.0:17777 --key cluster.key --discoverable Attic", Not(NETWORK)),
        ("palk client scan", Not(NETWORK)),
        ("palk client --server scan inf", Not(NETWORK)),
        ("palk client passwd", With("--new-password-file password")),
        ("palk server --no-signup --quota 50GB --log-format json", With("--listen 0.0.0.0:17777")),
        ("palk server --config palk.toml", After("echo 'listen = \"0.0.0.0:17777\"' > palk.toml")),
        ("palk storage --config node.toml",
            After("printf 'id = 1\\nlisten = \"10.0.0.8:51131\"\\ndir = \"/srv/palk/files_1\"' > node.toml")),
        ("palk admin user add ann", With("--password-file password")),
        ("palk admin user passwd ann", With("--password-file password")),
        ("palk admin user remove ann", With("--yes")),
        ("palk completions bash > ~/.local/share/bash-completion/completions/palk",
            After("mkdir -p ~/.local/share/bash-completion/completions")),
        ("palk server --door share=127.0.0.1:30001,user=demo --door request=127.0.0.1:5000,user=demo",
            With("--listen 0.0.0.0:17777 --discovery-listen 10.0.0.1:30000")),
        ("palk client request 127.0.0.1 5000 photo.jpg", After("palk client store photo.jpg; rm photo.jpg")),
        ("palk status", After(HEALTHY)),
        ("palk top", Endless),
        ("palk server --heal-rate 100MB --scrub-rate 20MB --scrub-every 30d", With("--listen 0.0.0.0:17777")),
        ("palk admin recover --dir user_database --node 10.0.0.1:51131 --node 10.0.0.2:51132 --node - \
          --node 10.0.0.4:51134 --key cluster.key", ServerStopped),
        ("palk admin recover --dir user_database --node 10.0.0.1:51131 --node 10.0.0.2:51132 --node - \
          --node 10.0.0.4:51134 --key cluster.key", After("mv user_database lost")),
    ],
};

const OPERATIONS_HEALTHY: &str = "ln -sfn var/lib/palk/server user_database; \
    timeout 60 sh -c 'until palk status -x; do sleep 0.1; done' > said || (cat said; exit 1)";

#[rustfmt::skip]
const OPERATIONS: Story = Story {
    document: "docs/operations.md",
    variables: &[],
    files: &["photo.jpg"],
    programs: &[],
    cases: &[
        // Each of the nodes has a machine and a file of its own.
        ("systemctl enable --now palk-node", Starts(&[
            "palk storage --config /etc/palk/node.toml --dir files_1",
            "palk storage --config /etc/palk/node.toml --dir files_2 --id 2 --listen 10.0.0.2:51132",
            "palk storage --config /etc/palk/node.toml --dir files_3 --id 3 --listen 10.0.0.3:51133",
            "palk storage --config /etc/palk/node.toml --dir files_4 --id 4 --listen 10.0.0.4:51134",
        ])),
        ("palk storage --config /etc/palk/node.toml --print-unit > /etc/systemd/system/palk-node.service",
            After("cp cluster.key /etc/palk; mkdir -p /var/lib/palk/node")),
        ("systemctl enable --now palk-server", Starts(&["palk server --config /etc/palk/server.toml"])),
        ("palk status --dir /var/lib/palk/server", After(OPERATIONS_HEALTHY)),
        ("palk status -x --dir /var/lib/palk/server", After(OPERATIONS_HEALTHY)),
        ("palk admin user add ann --dir /var/lib/palk/server", With("--password-file password")),
        ("palk client login --user ann", With("--password-file password")),
        ("systemctl start palk-node", Starts(&[
            "palk storage --config /etc/palk/node.toml --dir empty_2 --id 2 --listen 10.0.0.2:51132",
        ])),
        ("palk admin replace 2 --to 10.0.0.9:51132 --dir /var/lib/palk/server", Starts(&[
            "palk storage --config /etc/palk/node.toml --dir other_2 --id 2 --listen 10.0.0.9:51132",
        ])),
        ("palk admin recover --dir /var/lib/palk/server --node 10.0.0.1:51131 --node 10.0.0.9:51132 \
          --node 10.0.0.3:51133 --node 10.0.0.4:51134 --key /etc/palk/cluster.key", ServerStopped),
        ("palk admin recover --dir /var/lib/palk/server --node 10.0.0.1:51131 --node 10.0.0.9:51132 \
          --node 10.0.0.3:51133 --node 10.0.0.4:51134 --key /etc/palk/cluster.key",
            After("mv /var/lib/palk/server lost; mkdir /var/lib/palk/server; mv lost/tls /var/lib/palk/server")),
        ("palk rescue /srv/copies/files_1 /srv/copies/files_3 --out rescued",
            After("mkdir -p /srv/copies; cp -r files_1 files_3 /srv/copies")),
        ("palk server --config palk.toml --print-unit > /etc/systemd/system/palk-server.service",
            After("touch palk.toml")),
    ],
};

#[test]
fn every_command_of_the_readme_is_carried_out() {
    README.is_carried_out();
}

#[test]
fn every_command_of_the_operations_manual_is_carried_out() {
    OPERATIONS.is_carried_out();
}
