//! What a source file names: a simple reading of Rust's text, enough for the rules of `layers.rs`.
//!
//! Comments, strings and what is compiled for tests only are blanked out first, so a line number in
//! what is left is the line number in the file. Then every path (`a::b::c`, also inside the braces of
//! a `use`) and every macro call is found. Nothing is expanded: a path that begins with a name that
//! was imported is judged where it was imported.

/// A source file without what does not count.
pub(crate) struct Source {
    /// `src/core/wire/node.rs`.
    pub(crate) file: String,
    /// `core`, `wire`, `node`; nothing for `main.rs` and `lib.rs`.
    pub(crate) module: Vec<String>,
    code: Vec<char>,
    /// Modules that are files of their own and compiled for tests only.
    pub(crate) test_modules: Vec<String>,
}

/// A path or macro call and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    pub(crate) line: usize,
    /// With `crate`, `self` and `super` resolved: `crate`, `core`, `io`. A macro ends in `!`.
    pub(crate) parts: Vec<String>,
}

impl Name {
    /// Does it begin with these parts?
    pub(crate) fn is_below(&self, parts: &[&str]) -> bool {
        self.parts.len() >= parts.len() && self.parts.iter().zip(parts).all(|(a, b)| a == b)
    }

    pub(crate) fn text(&self) -> String {
        self.parts.join("::")
    }
}

impl Source {
    pub(crate) fn new(file: &str, text: &str) -> Source {
        let mut code = without_comments_and_strings(text);
        let test_modules = drop_tests(&mut code);
        Source { file: file.to_owned(), module: module_of(file), code, test_modules }
    }

    /// Everything that it names, from top to bottom.
    pub(crate) fn names(&self) -> Vec<Name> {
        let mut reader = Reader { source: self, at: 0, line: 1, names: Vec::new() };
        reader.read_all();
        reader.names
    }

    /// The lines in which this word stands as a whole word that no `.` goes before.
    pub(crate) fn lines_with_word(&self, word: &str) -> Vec<usize> {
        let wanted: Vec<char> = word.chars().collect();
        let mut lines = Vec::new();
        let mut line = 1;
        for at in 0..self.code.len() {
            line += usize::from(self.code[at] == '\n');
            let before = at.checked_sub(1).map(|at| self.code[at]);
            let after = self.code.get(at + wanted.len());
            if self.code[at..].starts_with(&wanted)
                && before.is_none_or(|c| !is_word(c) && c != '.')
                && after.is_none_or(|c| !is_word(*c))
            {
                lines.push(line);
            }
        }
        lines
    }
}

/// `src/core/wire/mod.rs` is `core::wire`, `src/core/remote.rs` is `core::remote`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "main" | "lib" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks out comments, strings and characters; line ends stay.
fn without_comments_and_strings(text: &str) -> Vec<char> {
    let mut code: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < code.len() {
        let end = match (code[at], code.get(at + 1)) {
            ('/', Some('/')) => find(&code, at, |c, i| c[i] == '\n'),
            ('/', Some('*')) => end_of_block_comment(&code, at),
            ('"', _) => end_of_string(&code, at),
            ('r', Some('"' | '#')) if at == 0 || !is_word(code[at - 1]) || code[at - 1] == 'b' => {
                end_of_raw_string(&code, at)
            }
            ('\'', Some('\\')) => find(&code, at + 3, |c, i| c[i] == '\'') + 1,
            ('\'', Some(_)) if code.get(at + 2) == Some(&'\'') => at + 3,
            _ => at,
        };
        let end = end.min(code.len());
        for c in code[at..end].iter_mut().filter(|c| **c != '\n') {
            *c = ' ';
        }
        at = end.max(at + 1);
    }
    code
}

fn find(code: &[char], from: usize, holds: impl Fn(&[char], usize) -> bool) -> usize {
    (from..code.len()).find(|at| holds(code, *at)).unwrap_or(code.len())
}

fn end_of_block_comment(code: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < code.len() {
        match (code[at], code.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(code: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < code.len() && code[at] != '"' {
        at += if code[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `start` itself if no raw string begins there.
fn end_of_raw_string(code: &[char], start: usize) -> usize {
    let open = find(code, start + 1, |c, i| c[i] != '#');
    if code.get(open) != Some(&'"') {
        return start;
    }
    let hashes = open - start - 1;
    let closes = |c: &[char], i: usize| {
        c[i] == '"' && c[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    find(code, open + 1, closes) + 1 + hashes
}

/// Blanks out every item behind `#[cfg(test)]`; gives the names of those that are `mod name;`.
fn drop_tests(code: &mut [char]) -> Vec<String> {
    let mark: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut modules = Vec::new();
    let mut at = 0;
    while at < code.len() {
        if !code[at..].starts_with(&mark) {
            at += 1;
            continue;
        }
        let end = end_of_item(code, at + mark.len());
        let item: String = code[at + mark.len()..end].iter().collect();
        let name = item.trim_end_matches(';').rsplit_once("mod ").map(|(_, name)| name.trim());
        if let Some(name) = name.filter(|name| name.chars().all(is_word)) {
            modules.push(name.to_owned());
        }
        code[at..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
        at = end;
    }
    modules
}

/// Behind the `;` or the closing brace of the item that begins here.
fn end_of_item(code: &[char], start: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code.iter().enumerate().skip(start) {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => {
                depth -= 1;
                if depth == 0 && *c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

struct Reader<'a> {
    source: &'a Source,
    at: usize,
    line: usize,
    names: Vec<Name>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.source.code.get(self.at).copied()
    }

    fn step(&mut self) {
        self.line += usize::from(self.peek() == Some('\n'));
        self.at += 1;
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.step();
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| is_word(*c)) {
            word.push(c);
            self.step();
        }
        word
    }

    /// Steps over `::` if that comes next.
    fn colons(&mut self) -> bool {
        let (at, line) = (self.at, self.line);
        self.skip_blanks();
        if self.source.code[self.at..].starts_with(&[':', ':']) {
            self.step();
            self.step();
            self.skip_blanks();
            return true;
        }
        (self.at, self.line) = (at, line);
        false
    }

    fn read_all(&mut self) {
        while let Some(c) = self.peek() {
            if is_word(c) {
                self.path(&[]);
            } else {
                self.step();
            }
        }
    }

    /// A path, and those in its braces, which all begin with `before`.
    fn path(&mut self, before: &[String]) {
        let line = self.line;
        let mut parts = before.to_vec();
        loop {
            match self.peek() {
                Some(c) if is_word(c) => {
                    let word = self.word();
                    if word != "self" || parts.is_empty() {
                        parts.push(word);
                    }
                    if !self.colons() {
                        break;
                    }
                }
                Some('{') => return self.group(&parts),
                Some('*') => {
                    self.step();
                    break;
                }
                _ => break, // `Vec::<u8>`: what stands in between is read on its own
            }
        }
        let is_macro = self.peek() == Some('!') && self.source.code.get(self.at + 1) != Some(&'=');
        if let Some(last) = parts.last_mut().filter(|_| is_macro) {
            last.push('!');
        }
        if let Some(parts) = self.resolve(parts) {
            self.names.push(Name { line, parts });
        }
    }

    fn group(&mut self, parts: &[String]) {
        self.step();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(';') => return,
                Some('}') => return self.step(),
                Some(c) if is_word(c) || c == '{' || c == '*' => {
                    self.path(parts);
                    self.skip_alias();
                }
                Some(_) => self.step(),
            }
        }
    }

    /// `as name` behind a path in braces names nothing.
    fn skip_alias(&mut self) {
        let (at, line) = (self.at, self.line);
        self.skip_blanks();
        if self.word() == "as" {
            self.skip_blanks();
            self.word();
        } else {
            (self.at, self.line) = (at, line);
        }
    }

    /// Counts `self` and `super` from this file's module; nothing for a word on its own.
    fn resolve(&self, parts: Vec<String>) -> Option<Vec<String>> {
        let is_macro = parts.last().is_some_and(|last| last.ends_with('!'));
        if parts.len() < 2 && !is_macro {
            return None;
        }
        let mut module = self.source.module.clone();
        let ups = parts.iter().take_while(|part| *part == "super").count();
        let rest = match parts[0].as_str() {
            "crate" | "palk" => return Some(join(&[], &parts[1..])),
            "self" => &parts[1..],
            "super" => &parts[ups..],
            _ => return Some(parts),
        };
        module.truncate(module.len().saturating_sub(ups));
        Some(join(&module, rest))
    }
}

fn join(module: &[String], rest: &[String]) -> Vec<String> {
    let mut all = vec!["crate".to_owned()];
    all.extend(module.iter().chain(rest).cloned());
    all
}
