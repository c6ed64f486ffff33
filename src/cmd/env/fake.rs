//! An [`Env`] without a process: arguments and standard input from the test, output kept.

use super::*;

/// What a command has printed.
#[derive(Clone, Default)]
pub(crate) struct Captured {
    out: Rc<RefCell<Vec<u8>>>,
    err: Rc<RefCell<Vec<u8>>>,
}

impl Captured {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.out.borrow()).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.err.borrow()).into_owned()
    }
}

impl Env {
    /// With no variables set, nothing a terminal, and `palk` before the arguments.
    pub(crate) fn fake(args: &[&str], input: &str) -> (Env, Captured) {
        let captured = Captured::default();
        let env = Env {
            args: std::iter::once("palk").chain(args.iter().copied()).map(OsString::from).collect(),
            variables: HashMap::new(),
            folder: PathBuf::new(),
            input: Box::new(io::Cursor::new(input.as_bytes().to_vec())),
            out: Screen(captured.out.clone()),
            patient: None,
            err: Screen(captured.err.clone()),
            terminals: Terminals { input: false, out: false, err: false },
            manner: Manner::default(),
            editor: None,
            completions: Completions::default(),
            interrupts: Interrupts::default(),
            meter: None,
            is_process: false,
        };
        (env, captured)
    }

    pub(crate) fn set_variable(&mut self, name: &str, value: &Path) {
        self.variables.insert(name.into(), value.into());
    }

    /// The same with somebody in front of it.
    pub(crate) fn on_terminal(mut self) -> Env {
        self.terminals = Terminals { input: true, out: true, err: true };
        self
    }

    /// The same in another folder.
    pub(crate) fn in_folder(mut self, folder: &Path) -> Env {
        self.folder = folder.to_owned();
        self
    }
}
