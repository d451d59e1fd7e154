//! A line's words, and the command that they make.

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Put { key: Vec<u8>, value: Vec<u8> },
    Get { key: Vec<u8> },
    Delete { key: Vec<u8> },
    Help,
    Exit,
}

/// The commands' names, for completion.
pub(super) const NAMES: [&str; 5] = ["put", "get", "delete", "help", "exit"];

impl Command {
    /// Parses a command, which may hold quotes over several lines; `None` where it is empty or a comment.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, String> {
        if is_comment(line) {
            return Ok(None);
        }
        let words = words(line)?;
        let Some((name, arguments)) = words.split_first() else { return Ok(None) };
        let name = String::from_utf8_lossy(name);
        let command = match (&*name, arguments) {
            ("put", [key, value]) => Self::Put { key: key.clone(), value: value.clone() },
            ("get", [key]) => Self::Get { key: key.clone() },
            ("delete", [key]) => Self::Delete { key: key.clone() },
            ("help", []) => Self::Help,
            ("exit", []) => Self::Exit,
            ("put", [_, _, _, ..]) => {
                return Err("put takes KEY VALUE; quote a value that holds spaces".into());
            }
            ("put", _) => return Err("put takes KEY VALUE".into()),
            ("get" | "delete", _) => {
                return Err(format!("{name} takes one KEY; quote a key that holds spaces"));
            }
            ("help" | "exit", _) => return Err(format!("{name} takes nothing else")),
            _ => return Err(format!("{name:?} is no command; try one of {}", NAMES.join(", "))),
        };
        Ok(Some(command))
    }
}

/// Whether a command's first line is a comment.
pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Where the end of a text is: outside of quotes, or inside of one that goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Quote {
    #[default]
    None,
    Single,
    Double,
    /// After a backslash in double quotes: the next character closes nothing.
    Escape,
}

impl Quote {
    /// The state after `bytes`. Quotes are ASCII, so the bytes of other characters change nothing.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |quote, byte| match (quote, byte) {
            (Self::None, b'\'') => Self::Single,
            (Self::None, b'"') | (Self::Escape, _) => Self::Double,
            (Self::Single, b'\'') | (Self::Double, b'"') => Self::None,
            (Self::Double, b'\\') => Self::Escape,
            (quote, _) => quote,
        })
    }

    /// The quote that is open, if one is.
    pub(super) fn open(self) -> Option<char> {
        match self {
            Self::None => None,
            Self::Single => Some('\''),
            Self::Double | Self::Escape => Some('"'),
        }
    }
}

/// Splits a command into words as a shell would: bare, in single quotes (nothing is special) or in double quotes (with
/// escapes), also next to each other.
fn words(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => push(word, c),
                        None => return Err("a ' is not closed".into()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => word.push(escaped(&mut chars)?),
                        Some(c) => push(word, c),
                        None => return Err("a \" is not closed".into()),
                    }
                }
            }
            c => push(word.get_or_insert_default(), c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn escaped(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<u8, String> {
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('0') => Ok(0),
        Some('"') => Ok(b'"'),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let mut digit = || chars.next_if(char::is_ascii_hexdigit)?.to_digit(16);
            let digits = digit().zip(digit());
            let byte = digits.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            byte.ok_or_else(|| "\\x needs two hexadecimal digits".to_owned())
        }
        Some(c) => Err(format!("\\{} stands for nothing; write \\\\ for a backslash", c.escape_debug())),
        None => Err("a \" is not closed".into()),
    }
}

fn push(word: &mut Vec<u8>, c: char) {
    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_command_has_its_end_where_no_quote_is_open(text in "[ab'\"\\\\x4\\n ü]{0,16}", cut in 0_usize..16) {
            let (before, after) = text.as_bytes().split_at(cut.min(text.len()));
            let quote = Quote::default().after(before).after(after);
            match words(&text) {
                Ok(_) => prop_assert_eq!(quote, Quote::None),
                Err(reason) if reason.ends_with("is not closed") => prop_assert!(quote.open().is_some()),
                // What is wrong inside of a command has nothing to say about where it ends.
                Err(_) => {}
            }
        }
    }

    fn put(key: &[u8], value: &[u8]) -> Command {
        Command::Put { key: key.to_vec(), value: value.to_vec() }
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        for (line, key, value) in [
            ("put a b\n", &b"a"[..], &b"b"[..]),
            ("  put\ta   b  ", b"a", b"b"),
            ("put city \"New York\"", b"city", b"New York"),
            ("put 'a b' ''", b"a b", b""),
            (r#"put k "\x00\xff\n\"\\""#, b"k", b"\x00\xff\n\"\\"),
            (r"put k a\b", b"k", b"a\\b"),
            ("put k 'a\nb'\n", b"k", b"a\nb"),
            ("put k a'b c'\"d e\"", b"k", b"ab cd e"),
            ("put k gr\u{fc}n", b"k", "gr\u{fc}n".as_bytes()),
        ] {
            assert_eq!(Command::parse(line), Ok(Some(put(key, value))), "{line}");
        }
    }

    #[test]
    fn nothing_and_comments_are_no_command() {
        for line in ["", "  \n", "# put a b"] {
            assert_eq!(Command::parse(line), Ok(None));
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for line in [
            "put a",
            "put a b c",
            "get",
            "get a b",
            "exit now",
            "list",
            "put a 'b",
            "put a \"b",
            r#"get "\q""#,
            r#"get "\x4""#,
        ] {
            assert!(Command::parse(line).is_err(), "{line}");
        }
    }
}
