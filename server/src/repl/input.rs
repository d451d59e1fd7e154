//! Commands out of a stream: one a line, except that an open quote goes on over the next lines.
//!
//! **Invariant:** nothing inside a command is ever run as a command. Where a command has no end, or is too long to be kept, what follows could be a part of
//! it, so nothing of that is run.

use std::io::{self, BufRead, Read as _};

use super::command::{Quote, is_comment};

/// How long a command may be: a value of 4 MiB with every byte escaped.
pub(super) const COMMAND_LEN_MAX: usize = 17 << 20;

/// Why nothing after a command can be run.
pub(super) const TOO_LONG: &str = "the command is over 17 MiB; nothing after this was run";

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A command that begins in this line.
    Command { line: u64, text: Vec<u8> },
    /// One that has no end or is too long: what follows cannot be told apart from it.
    Stop { line: u64, reason: String },
    /// The end.
    End,
}

/// Takes a stream apart.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    lines: u64,
    len_max: usize,
}

impl<R: BufRead> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, lines: 0, len_max: COMMAND_LEN_MAX }
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        let (line, mut text, mut quote) = (self.lines + 1, Vec::new(), Quote::default());
        loop {
            let before = text.len();
            let room = self.len_max.saturating_sub(before) + 1;
            (&mut self.reader).take(room as u64).read_until(b'\n', &mut text)?;
            let came = text.get(before..).unwrap_or_default();
            if came.is_empty() {
                return Ok(match quote.open() {
                    Some(sign) => Next::Stop { line, reason: never_closed(sign) },
                    None => Next::End,
                });
            }
            if text.len() > self.len_max {
                return Ok(Next::Stop { line, reason: TOO_LONG.to_owned() });
            }
            self.lines += 1;
            if before > 0 || !is_comment(&String::from_utf8_lossy(came)) {
                quote = quote.after(came);
            }
            if quote.open().is_none() {
                return Ok(Next::Command { line, text });
            }
        }
    }
}

/// What is said of a quote that is open at the end of the input.
pub(super) fn never_closed(sign: char) -> String {
    format!("a {sign} is not closed before the end of the input; nothing after this was run")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], len_max: usize) -> Vec<Next> {
        let mut input = Input { reader: text, lines: 0, len_max };
        let mut all = Vec::new();
        loop {
            let next = input.next().unwrap();
            let ends = !matches!(next, Next::Command { .. });
            all.push(next);
            if ends {
                return all;
            }
        }
    }

    fn command(line: u64, text: &str) -> Next {
        Next::Command { line, text: text.as_bytes().to_vec() }
    }

    #[test]
    fn a_command_goes_on_until_its_quotes_are_closed() {
        let text = "get a\nput n \"first\ndelete a\n\\\"last\"'\n\n'\n# don't\nget b";
        let wanted = [
            command(1, "get a\n"),
            command(2, "put n \"first\ndelete a\n\\\"last\"'\n\n'\n"),
            command(7, "# don't\n"),
            command(8, "get b"),
            Next::End,
        ];
        assert_eq!(all(text.as_bytes(), 100), wanted);
        assert_eq!(all(b"", 100), [Next::End]);
        let within = b"put n \"\xff\ndelete a\n\"\n";
        assert_eq!(all(within, 100), [Next::Command { line: 1, text: within.to_vec() }, Next::End]);
    }

    #[test]
    fn a_command_without_an_end_or_too_long_is_the_last() {
        for (text, at, named) in [
            (&b"get a\nput n \"x\ndelete a\n"[..], 2, "\""),
            (b"put n 'x\ndelete a", 1, "'"),
            (b"put n \"\\", 1, "\""),
            (b"# aaaaaaaaaaaaaaaaaaaaaaadelete a\n", 1, "over"),
            (b"put n \"aaaaaa\naaaaaaaaaaaaaaaa\ndelete a\n\"", 1, "over"),
        ] {
            let all = all(text, 24);
            let Some(Next::Stop { line, reason }) = all.last() else { panic!("{all:?}") };
            assert!(*line == at && reason.contains(named) && all.len() as u64 == at, "{all:?}");
        }
        assert_eq!(all(b"get 7890\n", 9).len(), 2);
        assert_eq!(all(b"get 78901", 9).len(), 2);
    }
}
