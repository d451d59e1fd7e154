//! The interactive client: lines in, answers out.
//!
//! On a terminal with line editing, history and completion; from a pipe without a prompt, and with exit code 1 if a
//! command failed.

mod command;
mod editor;
mod input;

use std::io::{self, BufRead, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser;
use conure_client::{Client, ClientError};
use conure_program::say;

use command::Command;
use editor::{Editor, Entered};
use input::{Input, Next};

const HELP: &str = "\
put KEY VALUE   store a value
get KEY         show a value; an absent key is a failure
delete KEY      delete a key
help            show this
exit            leave (or Ctrl-D)

Quote words that hold spaces: put city \"New York\". In double quotes \\n, \\t, \\\", \\\\ and \\xNN stand for bytes.
A quote that is not closed goes on in the next line.
";

/// Talk to a ConureDB cluster.
///
/// Follows redirects to the leader, and moves to another member when its own is gone. Reads commands from a pipe too:
///
///   echo 'put colour blue' | repl
#[derive(Debug, Parser)]
#[command(name = "repl", version, verbatim_doc_comment, after_help = format!("Commands:\n{HELP}"))]
struct Flags {
    /// A member's HTTP address; may be given several times.
    #[arg(long, value_name = "URL", default_value = "http://localhost:8081")]
    server: Vec<String>,
}

/// Runs the REPL over the process's command line and streams.
#[must_use]
pub fn main() -> ExitCode {
    conure_program::end_on_panic("repl", 1);
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return conure_program::usage("repl", error.use_stderr(), &error.render().to_string()),
    };
    let code = run(flags);
    conure_program::flush();
    code
}

fn run(flags: Flags) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say!("repl: {error}");
            return ExitCode::FAILURE;
        }
    };
    let client = match Client::builder().servers(flags.server).discover(true).build() {
        Ok(client) => client,
        Err(error) => {
            say!("repl: --server: {error}");
            return ExitCode::from(2);
        }
    };
    let session = Session { client, runtime };
    let result =
        if io::stdin().is_terminal() { session.interactive() } else { session.piped(io::stdin().lock()) };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say!("repl: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Session {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

/// What a line led to.
enum Outcome {
    Done,
    Failed(String),
    Exit,
}

impl Session {
    /// Prompts until the end; a failed command is only shown.
    fn interactive(&self) -> io::Result<bool> {
        let mut editor = Editor::new().map_err(io::Error::other)?;
        let servers: Vec<String> = self.client.servers().iter().map(ToString::to_string).collect();
        show(format!("{}; `help` shows the commands\n", servers.join(", ")).as_bytes())?;
        let mut ended_well = true;
        loop {
            let command = match editor.command().map_err(io::Error::other)? {
                Entered::Command(command) => command,
                Entered::End => break,
                Entered::Stop(reason) => {
                    say!("{reason}");
                    ended_well = false;
                    break;
                }
            };
            match self.run(&command, |command| editor.learn(command))? {
                Outcome::Done => {}
                Outcome::Failed(reason) => say!("{reason}"),
                Outcome::Exit => break,
            }
        }
        editor.save();
        Ok(ended_well)
    }

    /// Runs every command; says whether all went well.
    fn piped(&self, input: impl BufRead) -> io::Result<bool> {
        let mut input = Input::new(input);
        let mut all_went_well = true;
        loop {
            let (line, text) = match input.next()? {
                Next::Command { line, text } => (line, text),
                Next::End => break,
                Next::Stop { line, reason } => {
                    say!("line {line}: {reason}");
                    return Ok(false);
                }
            };
            let outcome = match String::from_utf8(text) {
                Ok(text) => self.run(&text, |_| {})?,
                Err(_) => Outcome::Failed("it is not UTF-8; write other bytes as \"\\xNN\"".into()),
            };
            match outcome {
                Outcome::Done => {}
                Outcome::Failed(reason) => {
                    say!("line {line}: {reason}");
                    all_went_well = false;
                }
                Outcome::Exit => break,
            }
        }
        Ok(all_went_well)
    }

    /// Runs one command. An error means that the answer could not be written.
    fn run(&self, text: &str, learn: impl FnOnce(&Command)) -> io::Result<Outcome> {
        let command = match Command::parse(text) {
            Ok(Some(command)) => command,
            Ok(None) => return Ok(Outcome::Done),
            Err(reason) => return Ok(Outcome::Failed(reason)),
        };
        learn(&command);
        let answer = match command {
            Command::Exit => return Ok(Outcome::Exit),
            Command::Help => Ok(HELP.as_bytes().to_vec()),
            Command::Put { key, value } => self.put(&key, value),
            Command::Get { key } => match self.get(&key) {
                Ok(Some(text)) => Ok(text),
                Ok(None) => return Ok(Outcome::Failed("there is no such key".into())),
                Err(error) => Err(error),
            },
            Command::Delete { key } => self.delete(&key),
        };
        match answer {
            Ok(text) => show(&text).map(|()| Outcome::Done),
            Err(error) => Ok(Outcome::Failed(error.to_string())),
        }
    }

    fn put(&self, key: &[u8], value: Vec<u8>) -> Result<Vec<u8>, ClientError> {
        let answer = self.runtime.block_on(self.client.put(key, value))?;
        Ok(format!("ok, revision {}\n", answer.revision).into_bytes())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
        let Some(found) = self.runtime.block_on(self.client.get(key))? else { return Ok(None) };
        let mut text =
            if io::stdout().is_terminal() { shown(&found.bytes).into_bytes() } else { found.bytes.to_vec() };
        text.push(b'\n');
        Ok(Some(text))
    }

    fn delete(&self, key: &[u8]) -> Result<Vec<u8>, ClientError> {
        let answer = self.runtime.block_on(self.client.delete(key))?;
        let what = if answer.deleted { "deleted" } else { "there was no such key" };
        Ok(format!("{what}, revision {}\n", answer.revision).into_bytes())
    }
}

/// A value on a terminal: control characters, which might command the terminal, are escaped.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\n' && c != '\t' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Writes an answer; without it the commands that follow would be made unseen.
fn show(text: &[u8]) -> io::Result<()> {
    conure_program::answer(text)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write to standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_value_cannot_command_the_terminal() {
        assert_eq!(shown(b"a\x1b[2Jb\xff\r\n"), "a\\u{1b}[2Jb\\xff\\r\n");
        assert_eq!(shown("grün".as_bytes()), "grün");
    }
}
