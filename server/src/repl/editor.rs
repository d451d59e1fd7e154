//! The terminal: line editing, history, completion.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};

use super::command::{Command, NAMES, Quote, is_comment};
use super::input::{COMMAND_LEN_MAX, TOO_LONG, never_closed};

const PROMPT: &str = "conure> ";
/// Inside of a quote that an earlier line opened.
const PROMPT_GOING_ON: &str = "     -> ";

/// How many keys are remembered for completion.
const KEYS_MAX: usize = 1000;

/// What was typed.
pub(super) enum Entered {
    Command(String),
    /// Nothing more can be run, and why.
    Stop(String),
    End,
}

/// A prompt with history and completion.
pub(super) struct Editor {
    editor: rustyline::Editor<Words, DefaultHistory>,
    history: Option<PathBuf>,
}

impl Editor {
    pub(super) fn new() -> rustyline::Result<Self> {
        let mut editor = rustyline::Editor::new()?;
        editor.set_helper(Some(Words::default()));
        let history = std::env::home_dir().map(|home| home.join(".conure_history"));
        if let Some(path) = &history {
            // There is none the first time.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// The next command, over several lines where a quote stays open. Ctrl-C drops it.
    pub(super) fn command(&mut self) -> rustyline::Result<Entered> {
        let (mut text, mut quote) = (String::new(), Quote::default());
        loop {
            let prompt = if quote.open().is_some() { PROMPT_GOING_ON } else { PROMPT };
            let line = match self.editor.readline(prompt) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => {
                    (text, quote) = (String::new(), Quote::default());
                    continue;
                }
                Err(ReadlineError::Eof) => {
                    return Ok(quote.open().map_or(Entered::End, |sign| Entered::Stop(never_closed(sign))));
                }
                Err(error) => return Err(error),
            };
            if quote.open().is_some() {
                text.push('\n');
                quote = quote.after(b"\n");
            }
            text += &line;
            if text.len() > COMMAND_LEN_MAX {
                return Ok(Entered::Stop(TOO_LONG.to_owned()));
            }
            if !is_comment(&text) {
                quote = quote.after(line.as_bytes());
            }
            if quote.open().is_none() {
                // Without history it is run all the same.
                let _ = self.editor.add_history_entry(&text);
                return Ok(Entered::Command(text));
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
