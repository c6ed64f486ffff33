//! What a line of the session asks for: the specified operations in any case, and the words that
//! people type.

/// What Tab offers at the beginning of a line.
pub(super) const WORDS: [&str; 12] =
    ["STR", "RTV", "DEL", "INF", "LGO", "put", "get", "rm", "ls", "quit", "help", "scan"];

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Store,
    Retrieve,
    Delete,
    List,
    SignOut,
    Help,
    Quit,
    Scan,
}

/// A line, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    /// Split as a shell does, so that names may be quoted.
    pub(super) arguments: Vec<String>,
}

/// A line's words, split as a shell does; nothing if it has none or its quotes do not match.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    shlex::split(line).filter(|words| !words.is_empty())
}

impl Operation {
    /// Reads a line; nothing if it begins with no verb or its quotes do not match.
    pub(super) fn parse(line: &str) -> Option<Operation> {
        let mut words = split(line)?;
        let verb = match words.remove(0).to_ascii_lowercase().as_str() {
            "str" | "put" => Verb::Store,
            "rtv" | "get" => Verb::Retrieve,
            "del" | "rm" => Verb::Delete,
            "inf" | "ls" => Verb::List,
            "lgo" => Verb::SignOut,
            "help" | "?" => Verb::Help,
            "quit" | "exit" => Verb::Quit,
            "scan" => Verb::Scan,
            _ => return None,
        };
        Some(Operation { verb, arguments: words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_are_exactly_their_letters_in_any_case() {
        let parse = |line| Operation::parse(line).map(|operation| operation.verb);
        assert_eq!(parse("STR"), Some(Verb::Store));
        assert_eq!(parse(" rTv  a "), Some(Verb::Retrieve));
        assert_eq!(parse("STRANGE"), None);
        assert_eq!(parse("put 'a"), None);
        for word in WORDS {
            assert!(parse(word).is_some(), "{word}");
        }
    }

    #[test]
    fn arguments_may_be_quoted() {
        let operation = Operation::parse("STR 'a b.pdf' reports").unwrap();
        assert_eq!(operation.arguments, ["a b.pdf", "reports"]);
    }
}
