//! `palk client config`: what holds and why, and values that are set.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// Somebody with a configuration of their own.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        if !config.is_empty() {
            fs::create_dir(home.path("palk")).unwrap();
            fs::write(home.file(), config).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn file(&self) -> std::path::PathBuf {
        self.path("palk/config.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = palk();
        command.env("XDG_CONFIG_HOME", self.0.path()).args(["client", "config"]).args(arguments);
        command
    }

    fn config(&self, arguments: &[&str]) -> Assert {
        run(self.command(arguments))
    }
}

const TWO: &str = "# mine\ndefault_profile = \"a\" # the one at home\n\n[profile.a]\nserver = 'h:1'\n\
    user = 'ann'\npassword_command = 'pass top-secret'\n\n[profile.b]\nuser = 'bob'\n";

#[test]
fn every_setting_is_shown_with_who_says_so() {
    let home = Home::new(TWO);
    let mut command = home.command(&["show", "--json", "--server=x"]);
    command.env("PALK_USER", "eve");
    let lines = json_lines(&run(command).code(0).stderr(is_empty()));
    let row = |key: &str| lines.iter().find(|line| line["key"] == key).unwrap();
    let is = |key: &str, value: &str, source: &str, from: &str| {
        let row = row(key);
        assert_eq!([&row["value"], &row["source"], &row["from"]], [value, source, from], "{key}");
    };
    is("server", "x:17777", "flag", "--server");
    is("user", "eve", "environment", "PALK_USER");
    is("profile", "a", "file", "default_profile");
    assert!(row("password")["value"].is_null(), "another user's is not shown as this one's");
    assert_eq!(row("fingerprint")["source"], "default");
    let last = lines.last().unwrap();
    assert_eq!([&last["type"], &last["path"]], ["result", home.file().to_str().unwrap()]);

    home.config(&["show"])
        .code(0)
        .stdout(contains("h:1").and(contains("profile a")).and(contains("output of pass")))
        .stdout(contains("top-secret").not());
    home.config(&["show", "--profile", "b"])
        .code(0)
        .stdout(is_match(r"(?m)^profile +b +--profile$").unwrap())
        .stdout(is_match(r"(?m)^server +127.0.0.1:17777 +default$").unwrap());
    home.config(&["show", "--profile", "none"]).code(2).stderr(told("no profile \"none\""));
    Home::new("").config(&["show"]).code(0);
}

#[test]
fn a_value_that_is_set_holds_and_all_else_stays() {
    let home = Home::new("");
    home.config(&["set", "server", "127.0.0.1:1"]).code(0).stdout(is_empty());
    home.config(&["set", "user", "ann"]).code(0);
    assert_eq!(
        home.text(),
        "default_profile = \"default\"\n\n[profile.default]\nserver = \"127.0.0.1:1\"\nuser = \"ann\"\n"
    );
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(home.file()), mode(home.path("palk"))], [0o600, 0o700]);

    // Through a link, with the mode that the file has, and with its comments.
    let home = Home::new("");
    fs::create_dir(home.path("palk")).unwrap();
    fs::write(home.path("real"), TWO).unwrap();
    fs::set_permissions(home.path("real"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink(home.path("real"), home.file()).unwrap();
    fs::write(home.path("pw"), "secret").unwrap();
    let set = ["set", "password_file", "pw", "--profile", "a"];
    home.config(&set).code(0).stderr(contains("password_command is taken out"));
    assert_eq!(
        home.text(),
        TWO.replace("password_command = 'pass top-secret'", "password_file = \"pw\"")
    );
    assert_eq!(mode(home.path("real")), 0o640);
    home.config(&["set", "server", ""]).code(0).stderr(starts_with("Took out server of profile a"));
    assert!(!home.text().contains("h:1"));
    let told = home.config(&["set", "default_profile", "b", "--json"]).code(0).stderr(is_empty());
    let told = json_lines(&told);
    assert_eq!([&told[0]["key"], &told[0]["code"].to_string().into()], ["default_profile", "0"]);
    assert!(home.text().contains("default_profile = \"b\" # the one at home"));
}

#[test]
fn what_is_no_value_is_refused_and_nothing_is_changed() {
    let home = Home::new(TWO);
    for (arguments, why) in [
        (&["server", "http://h:1"][..], "is not HOST:PORT"),
        (&["user", "a/b"], "cannot set user"),
        (&["fingerprint", "abc"], "64 hexadecimal digits"),
        (&["password_command", "pass 'x"], "its quotes do not match"),
        (&["default_profile", "c"], "there is no profile \"c\""),
    ] {
        home.config(&[&["set"][..], arguments].concat()).code(2).stderr(told(why));
    }
    home.config(&["set", "colour", "red"]).code(2);
    assert_eq!(home.text(), TWO);

    let home = Home::new("[profile.b]\nuser = 'bob'\n");
    home.config(&["set", "user", "eve"]).code(2).stderr(told("no profile is named"));
    let wrong = "[profile.b]\nusr = 'bob'\n";
    let home = Home::new(wrong);
    home.config(&["set", "user", "eve", "--profile", "b"]).code(2).stderr(told("line 2"));
    assert_eq!(home.text(), wrong);

    // No place for it.
    let mut command = palk();
    command.args(["client", "config", "set", "user", "eve"]);
    run(command).code(13).stderr(told("cannot write /dev/null/palk/config.toml"));
}

#[test]
fn the_place_of_the_configuration_is_data() {
    let home = Home::new("");
    home.config(&["path"]).code(0).stdout(format!("{}\n", home.file().display()));
    let mut command = home.command(&["path"]);
    command.env("PALK_CONFIG", "/a/b.toml");
    run(command).code(0).stdout("/a/b.toml\n");
    let mut command = home.command(&["path"]);
    command.env_remove("XDG_CONFIG_HOME").env_remove("HOME");
    run(command).code(13).stderr(told("HOME is not set"));
}
