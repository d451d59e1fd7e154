//! The terminal: line editing, history, completion.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};

use super::command::{Command, NAMES};

/// How many keys are remembered for completion.
const KEYS_MAX: usize = 1000;

/// A prompt with history and completion.
pub(super) struct Editor {
    editor: rustyline::Editor<Words, DefaultHistory>,
    history: Option<PathBuf>,
}

impl Editor {
    pub(super) fn new() -> rustyline::Result<Self> {
        let mut editor = rustyline::Editor::new()?;
        editor.set_helper(Some(Words::default()));
        editor.set_auto_add_history(true);
        let history = std::env::home_dir().map(|home| home.join(".conure_history"));
        if let Some(path) = &history {
            // There is none the first time.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// The next line; `None` at the end. Ctrl-C drops the line.
    pub(super) fn line(&mut self) -> rustyline::Result<Option<String>> {
        loop {
            match self.editor.readline("conure> ") {
                Ok(line) => return Ok(Some(line)),
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Remembers a command's key for completion.
    pub(super) fn learn(&mut self, command: &Command) {
        let (Command::Put { key, .. } | Command::Get { key } | Command::Delete { key }) = command else {
            return;
        };
        let Ok(key) = String::from_utf8(key.clone()) else { return };
        let bare = !key.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"".contains(c));
        if let Some(words) = self.editor.helper_mut().filter(|words| bare && words.keys.len() < KEYS_MAX) {
            words.keys.insert(key);
        }
    }

    /// Keeps the history for the next time, where there is a home for it.
    pub(super) fn save(&mut self) {
        if let Some(path) = &self.history {
            let _ = self.editor.save_history(path);
        }
    }
}

/// What can be completed: commands, and the keys used so far.
#[derive(Default, Helper, Highlighter, Hinter, Validator)]
struct Words {
    keys: BTreeSet<String>,
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(candidates(&self.keys, line.get(..at).unwrap_or_default()))
    }
}

/// Where the word before the cursor starts, and what it may become.
fn candidates(keys: &BTreeSet<String>, line: &str) -> (usize, Vec<String>) {
    let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let (before, word) = line.split_at(start);
    let found = match before.trim() {
        "" => NAMES.iter().filter(|name| name.starts_with(word)).map(|name| format!("{name} ")).collect(),
        "put" | "get" | "delete" => keys.iter().filter(|key| key.starts_with(word)).cloned().collect(),
        _ => Vec::new(),
    };
    (start, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_used_keys_are_completed() {
        let keys = BTreeSet::from(["colour".to_owned(), "city".to_owned()]);
        assert_eq!(candidates(&keys, "de"), (0, vec!["delete ".to_owned()]));
        assert_eq!(candidates(&keys, "get c"), (4, vec!["city".to_owned(), "colour".to_owned()]));
        assert_eq!(candidates(&keys, "put colour c"), (11, vec![]));
    }
}
