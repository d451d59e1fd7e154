//! Processes whose standard streams are closed, full, or not read. Shared by the tests of every program.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write as _};
use std::process::{Command, Stdio};

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The descriptor is closed.
    Closed,
    /// A write fails as on a full disk.
    Full,
    /// A pipe that takes nothing more until somebody reads it, or into which nobody writes.
    Slow,
    /// A pipe whose other end is gone.
    Gone,
}

impl Wrong {
    pub(crate) const ALL: [Self; 4] = [Self::Closed, Self::Full, Self::Slow, Self::Gone];
}

/// The other end of a slow pipe.
#[derive(Debug)]
#[allow(dead_code, reason = "some tests only hold it")]
pub(crate) enum OtherEnd {
    Reader(PipeReader),
    Writer(PipeWriter),
    None,
}

/// The same process with a stream (0, 1 or 2) that is wrong; the other two lead nowhere.
pub(crate) fn with(of: &Command, stream: u8, wrong: Wrong) -> (Command, OtherEnd) {
    let close = match (wrong, stream) {
        (Wrong::Closed, 0) => "<&-",
        (Wrong::Closed, 1) => ">&-",
        (Wrong::Closed, _) => "2>&-",
        _ => "",
    };
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec \"$@\" {close}"), "sh"]).arg(of.get_program()).args(of.get_args());
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(directory) = of.get_current_dir() {
        command.current_dir(directory);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut other = OtherEnd::None;
    let stdio = match (wrong, stream) {
        (Wrong::Closed, _) => return (command, other),
        // There is no full input.
        (Wrong::Full, 0) => Stdio::null(),
        (Wrong::Full, _) => File::options().write(true).open("/dev/full").unwrap().into(),
        (Wrong::Slow, 0) => {
            let (reader, writer) = std::io::pipe().unwrap();
            other = OtherEnd::Writer(writer);
            reader.into()
        }
        (Wrong::Slow, _) => {
            let (reader, writer) = filled();
            other = OtherEnd::Reader(reader);
            writer.into()
        }
        (Wrong::Gone, 0) => std::io::pipe().unwrap().0.into(),
        (Wrong::Gone, _) => std::io::pipe().unwrap().1.into(),
    };
    match stream {
        0 => command.stdin(stdio),
        1 => command.stdout(stdio),
        _ => command.stderr(stdio),
    };
    (command, other)
}

/// A pipe that takes nothing more until it is read.
pub(crate) fn filled() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while (&writer).write(&[b'.'; 4096]).is_ok() {}
    while (&writer).write(b".").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}
