//! What a line of the session asks for: the specified operations in any case, and the words that
//! people type, from here and from other programs of this kind.
//!
//! Two tables: what there is to do ([`SHAPES`]), and which words stand for it ([`WORDS`]). The help,
//! Tab and every complaint about a line are made from them.

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Store,
    Update,
    Retrieve,
    Delete,
    Everything,
    List,
    Details,
    Local,
    ChangeFolder,
    Where,
    MakeFolder,
    RemoveFolder,
    Move,
    Copy,
    Cat,
    Head,
    DiskUsage,
    Find,
    Uploads,
    Connect,
    SignOut,
    Help,
    Quit,
    Scan,
    Versions,
    Undo,
}

impl Verb {
    /// Those after which something stored is named.
    pub(super) const OF_STORED: [Verb; 15] = [
        Verb::Retrieve,
        Verb::Delete,
        Verb::Everything,
        Verb::List,
        Verb::Details,
        Verb::ChangeFolder,
        Verb::RemoveFolder,
        Verb::Move,
        Verb::Copy,
        Verb::Cat,
        Verb::Head,
        Verb::DiskUsage,
        Verb::Find,
        Verb::Versions,
        Verb::Undo,
    ];
}

/// How a line with a verb looks.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) verb: Verb,
    /// The fewest and the most arguments besides its switches.
    least: usize,
    most: usize,
    switches: &'static [&'static str],
    /// What follows the word.
    pub(super) follows: &'static str,
    /// What it does, for the help.
    pub(super) does: &'static str,
    /// What is wrong with a line that has more or fewer arguments.
    needs: &'static str,
}

const A_FILE: &str = "a file is one name and one path";
const NOTHING: &str = "this stands alone on its line";

/// Everything there is to do.
#[rustfmt::skip]
pub(super) const SHAPES: [Shape; 26] = [
    Shape { verb: Verb::Store, least: 0, most: 2, switches: &["-r"], follows: "[-r] NAME [PATH]",
            does: "store a local file; -r: a folder with all that is in it", needs: A_FILE },
    Shape { verb: Verb::Update, least: 0, most: 2, switches: &[], follows: "NAME [PATH]",
            does: "store a local file if the server has it already", needs: A_FILE },
    Shape { verb: Verb::Retrieve, least: 0, most: 2, switches: &["-r"], follows: "[-r] NAME [PATH]",
            does: "retrieve a file, or all that match, as in *.jpg; -r: folders too", needs: A_FILE },
    Shape { verb: Verb::Delete, least: 0, most: 2, switches: &["-r", "--yes"],
            follows: "[-r] [--yes] NAME [PATH]",
            does: "delete a file, or all that match; -r: folders too", needs: A_FILE },
    Shape { verb: Verb::Everything, least: 0, most: 1, switches: &[], follows: "[PATH]",
            does: "all your folders and files, or what is at PATH",
            needs: "a listing is of one folder or file" },
    Shape { verb: Verb::List, least: 0, most: 1, switches: &["-l"], follows: "[-l] [FOLDER]",
            does: "what is in a folder; -l: with sizes and dates",
            needs: "a listing is of one folder or file" },
    Shape { verb: Verb::Details, least: 0, most: 1, switches: &[], follows: "[FOLDER]",
            does: "everything below a folder, with sizes and dates",
            needs: "a listing is of one folder or file" },
    Shape { verb: Verb::Local, least: 0, most: 1, switches: &[], follows: "[FOLDER]",
            does: "your local files", needs: "a listing is of one folder" },
    Shape { verb: Verb::ChangeFolder, least: 0, most: 1, switches: &[], follows: "[FOLDER]",
            does: "go to a folder; \"..\" is the one above, none the top",
            needs: "there is one folder to go to" },
    Shape { verb: Verb::Where, least: 0, most: 0, switches: &[], follows: "",
            does: "the folder you are in", needs: NOTHING },
    Shape { verb: Verb::MakeFolder, least: 1, most: 1, switches: &["-p"], follows: "[-p] FOLDER",
            does: "make a folder; -p: and those above it",
            needs: "one folder is to be made" },
    Shape { verb: Verb::RemoveFolder, least: 1, most: 1, switches: &["-r", "--yes"],
            follows: "[-r [--yes]] FOLDER", does: "remove an empty folder; -r: with all that is in it",
            needs: "one folder is to be removed" },
    Shape { verb: Verb::Move, least: 2, most: 2, switches: &["--replace"],
            follows: "[--replace] FROM TO", does: "move or rename a file or folder",
            needs: "what is moved and where to are two paths" },
    Shape { verb: Verb::Copy, least: 2, most: 2, switches: &["-r", "--replace"],
            follows: "[-r] [--replace] FROM TO",
            does: "copy a file on the server; -r: a folder with all that is in it",
            needs: "what is copied and where to are two paths" },
    Shape { verb: Verb::Cat, least: 1, most: usize::MAX, switches: &[], follows: "NAME...",
            does: "show files", needs: "a file is to be shown" },
    Shape { verb: Verb::Head, least: 2, most: 2, switches: &["-c"], follows: "-c N NAME",
            does: "show the first N bytes of a file",
            needs: "how many bytes, and of which file, are two things" },
    Shape { verb: Verb::DiskUsage, least: 0, most: 1, switches: &["-s"], follows: "[-s] [PATH]",
            does: "how much is in each folder; -s: the sum",
            needs: "the sums are those of one folder or file" },
    Shape { verb: Verb::Find, least: 1, most: 2, switches: &[], follows: "[PATH] GLOB",
            does: "find files and folders by their names, as in *.jpg",
            needs: "a pattern is to be found, in one folder" },
    Shape { verb: Verb::Uploads, least: 0, most: 0, switches: &[], follows: "",
            does: "what was not stored to its end and waits to go on", needs: NOTHING },
    Shape { verb: Verb::Versions, least: 1, most: 1, switches: &[], follows: "PATH",
            does: "what a path is and was", needs: "the versions are those of one path" },
    Shape { verb: Verb::Undo, least: 1, most: 1, switches: &[], follows: "PATH",
            does: "bring back what was there before its last change",
            needs: "one path is undone at a time" },
    Shape { verb: Verb::Connect, least: 0, most: usize::MAX, switches: &[], follows: "",
            does: "how to reach another server", needs: NOTHING },
    Shape { verb: Verb::SignOut, least: 0, most: 0, switches: &[], follows: "",
            does: "sign out", needs: NOTHING },
    Shape { verb: Verb::Help, least: 0, most: usize::MAX, switches: &[], follows: "",
            does: "this list", needs: NOTHING },
    Shape { verb: Verb::Scan, least: 0, most: 0, switches: &[], follows: "",
            does: "look for servers in the network", needs: NOTHING },
    Shape { verb: Verb::Quit, least: 0, most: 0, switches: &[], follows: "",
            does: "leave", needs: NOTHING },
];

/// Every word, in lower case, and what it stands for; the first of a verb is the one that is shown.
pub(super) const WORDS: [(&str, Verb); 47] = [
    ("str", Verb::Store),
    ("put", Verb::Store),
    ("upload", Verb::Store),
    ("update", Verb::Update),
    ("para", Verb::Update),
    ("rtv", Verb::Retrieve),
    ("get", Verb::Retrieve),
    ("download", Verb::Retrieve),
    ("del", Verb::Delete),
    ("rm", Verb::Delete),
    ("delete", Verb::Delete),
    ("inf", Verb::Everything),
    ("ls", Verb::List),
    ("dir", Verb::List),
    ("rlist", Verb::List),
    ("list", Verb::List),
    ("fetch", Verb::Details),
    ("llist", Verb::Local),
    ("lls", Verb::Local),
    ("cd", Verb::ChangeFolder),
    ("chdir", Verb::ChangeFolder),
    ("pwd", Verb::Where),
    ("mkdir", Verb::MakeFolder),
    ("rmdir", Verb::RemoveFolder),
    ("mv", Verb::Move),
    ("move", Verb::Move),
    ("rename", Verb::Move),
    ("cp", Verb::Copy),
    ("copy", Verb::Copy),
    ("cat", Verb::Cat),
    ("head", Verb::Head),
    ("du", Verb::DiskUsage),
    ("find", Verb::Find),
    ("uploads", Verb::Uploads),
    ("versions", Verb::Versions),
    ("undo", Verb::Undo),
    ("connect", Verb::Connect),
    ("open", Verb::Connect),
    ("scan", Verb::Scan),
    ("lgo", Verb::SignOut),
    ("logout", Verb::SignOut),
    ("help", Verb::Help),
    ("?", Verb::Help),
    ("quit", Verb::Quit),
    ("exit", Verb::Quit),
    ("bye", Verb::Quit),
    ("disconnect", Verb::Quit),
];

/// A line, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    /// Split as a shell does, so that names may be quoted; without the switches.
    pub(super) arguments: Vec<String>,
    switches: Vec<&'static str>,
}

/// What a line comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Line {
    Operation(Operation),
    /// It begins with a verb and goes on in another way than that verb does.
    Misshapen {
        /// The word as it was typed.
        word: String,
        shape: &'static Shape,
    },
    /// It begins with no verb, or its quotes do not match.
    Unknown,
}

/// A line's words, split as a shell does; nothing if it has none or its quotes do not match.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    shlex::split(line).filter(|words| !words.is_empty())
}

/// What Tab offers at the beginning of a line: the specified operations as they are written, and one
/// word for everything else.
pub(super) fn offered() -> Vec<&'static str> {
    let specified = ["STR", "RTV", "DEL", "INF", "LGO"];
    let is_first = |at: usize, verb: Verb| WORDS[..at].iter().all(|(_, other)| *other != verb);
    let others = WORDS.iter().enumerate().filter(|(at, (word, verb))| {
        let is_specified = specified.iter().any(|other| other.eq_ignore_ascii_case(word));
        let is_usual = ["put", "get", "rm"].contains(word);
        !is_specified && (is_usual || is_first(*at, *verb))
    });
    specified.into_iter().chain(others.map(|(_, (word, _))| *word)).collect()
}

/// The words that stand for any of these verbs.
pub(super) fn words_of(verbs: &[Verb]) -> Vec<&'static str> {
    WORDS.iter().filter(|(_, verb)| verbs.contains(verb)).map(|(word, _)| *word).collect()
}

impl Shape {
    fn of(verb: Verb) -> &'static Shape {
        // Every verb has one: see the tests.
        SHAPES.iter().find(|shape| shape.verb == verb).unwrap_or(&SHAPES[0])
    }

    /// What is wrong with a line, and how it should look: `mkdir: one folder is to be made`.
    pub(super) fn complaint(&self, word: &str) -> (String, String) {
        let like = format!("{word} {}", self.follows);
        let blanks = "      (\"quotes\" around a name with blanks)";
        let hint = format!("Like this:  {}{blanks}", like.trim_end());
        (format!("{word}: {}", self.needs), hint)
    }
}

impl Operation {
    /// Has it this switch?
    pub(super) fn has(&self, switch: &str) -> bool {
        self.switches.contains(&switch)
    }
}

impl Line {
    /// Reads a line. What follows `--` is no switch.
    pub(super) fn parse(line: &str) -> Line {
        let Some(mut words) = split(line) else { return Line::Unknown };
        let word = words.remove(0);
        let known = WORDS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known));
        let Some((_, verb)) = known else { return Line::Unknown };
        let shape = Shape::of(*verb);
        let (mut arguments, mut switches) = (Vec::new(), Vec::new());
        let mut may_be_switch = !shape.switches.is_empty();
        for argument in words {
            let switch = shape.switches.iter().find(|switch| **switch == argument);
            match switch {
                Some(switch) if may_be_switch => switches.push(*switch),
                _ if may_be_switch && argument == "--" => may_be_switch = false,
                _ => arguments.push(argument),
            }
        }
        if !(shape.least..=shape.most).contains(&arguments.len()) {
            return Line::Misshapen { word, shape };
        }
        Line::Operation(Operation { verb: *verb, arguments, switches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(line: &str) -> Option<Verb> {
        match Line::parse(line) {
            Line::Operation(operation) => Some(operation.verb),
            _ => None,
        }
    }

    #[test]
    fn opcodes_are_exactly_their_letters_in_any_case() {
        assert_eq!(verb("STR"), Some(Verb::Store));
        assert_eq!(verb(" rTv  a "), Some(Verb::Retrieve));
        for line in ["STRANGE", "put 'a", "", "  "] {
            assert_eq!(Line::parse(line), Line::Unknown, "{line}");
        }
    }

    #[test]
    fn arguments_may_be_quoted() {
        let Line::Operation(operation) = Line::parse("STR 'a b.pdf' reports") else { panic!() };
        assert_eq!(operation.arguments, ["a b.pdf", "reports"]);
    }

    #[test]
    fn every_word_does_what_it_says_in_any_case() {
        for (at, (word, expected)) in WORDS.iter().enumerate() {
            assert!(WORDS[..at].iter().all(|(other, _)| other != word), "{word} stands twice");
            let shape = Shape::of(*expected);
            assert_eq!(shape.verb, *expected, "{word} has no shape");
            let line = format!("{word}{}", " a".repeat(shape.least));
            assert_eq!(verb(&line), Some(*expected));
            assert_eq!(verb(&line.to_ascii_uppercase().replace(" A", " a")), Some(*expected));
        }
        for shape in &SHAPES {
            assert!(WORDS.iter().any(|(_, verb)| *verb == shape.verb), "{shape:?} has no word");
        }
        for word in offered() {
            let word = word.to_ascii_lowercase();
            assert!(WORDS.iter().any(|(known, _)| *known == word), "{word}");
        }
    }

    #[test]
    fn the_words_of_other_programs_mean_what_they_meant_there() {
        for (line, expected) in [
            ("fetch", Verb::Details),
            ("upload a", Verb::Store),
            ("download a", Verb::Retrieve),
            ("para a", Verb::Update),
            ("llist", Verb::Local),
            ("rlist", Verb::List),
            ("put a", Verb::Store),
            ("get a", Verb::Retrieve),
            ("bye", Verb::Quit),
            ("UPLOAD a", Verb::Store),
            ("DOWNLOAD a", Verb::Retrieve),
            ("DELETE a", Verb::Delete),
            ("DIR", Verb::List),
            ("MKDIR a", Verb::MakeFolder),
            ("CHDIR a", Verb::ChangeFolder),
            ("RMDIR a", Verb::RemoveFolder),
            ("MOVE a b", Verb::Move),
            ("DISCONNECT", Verb::Quit),
            ("EXIT", Verb::Quit),
            ("CONNECT 10.0.0.1 30001", Verb::Connect),
        ] {
            assert_eq!(verb(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn a_line_of_another_shape_says_what_is_wrong_with_it() {
        for (line, wrong) in [
            ("STR a b c", "STR: a file is one name and one path"),
            ("mkdir", "mkdir: one folder is to be made"),
            ("mkdir -p", "mkdir: one folder is to be made"),
            ("MOVE a", "MOVE: what is moved and where to are two paths"),
            ("pwd x", "pwd: this stands alone on its line"),
            ("mv -- --replace", "mv: what is moved and where to are two paths"),
        ] {
            let Line::Misshapen { word, shape } = Line::parse(line) else { panic!("{line}") };
            let (text, hint) = shape.complaint(&word);
            assert_eq!(text, wrong);
            assert!(hint.starts_with(&format!("Like this:  {word}")), "{hint}");
        }
    }

    #[test]
    fn a_switch_is_one_of_the_verbs_own_and_may_stand_anywhere() {
        let parse = |line| match Line::parse(line) {
            Line::Operation(operation) => operation,
            other => panic!("{line}: {other:?}"),
        };
        let remove = parse("rmdir up -r --yes");
        assert!(remove.has("-r") && remove.has("--yes"));
        assert_eq!(remove.arguments, ["up"]);
        assert!(parse("mv -- --replace b").arguments == ["--replace", "b"]);
        // A file may be called so.
        assert_eq!(parse("rm -- -r").arguments, ["-r"]);
        assert!(!parse("rm -- -r").has("-r"));
        assert_eq!(parse("cat -r").arguments, ["-r"]);
        assert_eq!(parse("head -c 10 a").arguments, ["10", "a"]);
    }
}
