//! The file of records, one line of JSON each.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Record;

/// A history's file cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The disk said no.
    #[error("the history {path} cannot be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: std::io::Error,
    },
    /// A line is no record.
    #[error("line {line} of the history {path} is no record: {source}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Appends records to a new file.
#[derive(Debug)]
pub struct HistoryWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl HistoryWriter {
    /// Creates the file; an older one of that name is replaced.
    pub fn create(path: &Path) -> Result<Self, HistoryError> {
        let file = File::create(path).map_err(|source| HistoryError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Appends one record.
    pub fn append(&mut self, record: &Record) -> Result<(), HistoryError> {
        let io = |source| HistoryError::Io { path: self.path.clone(), source };
        serde_json::to_writer(&mut self.file, record).map_err(|error| io(error.into()))?;
        self.file.write_all(b"\n").map_err(io)
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), HistoryError> {
        self.file.flush().map_err(|source| HistoryError::Io { path: self.path.clone(), source })
    }
}

/// Reads a whole history.
pub fn read(path: &Path) -> Result<Vec<Record>, HistoryError> {
    let io = |source| HistoryError::Io { path: path.to_owned(), source };
    let mut records = Vec::new();
    for (index, line) in BufReader::new(File::open(path).map_err(io)?).lines().enumerate() {
        let record = serde_json::from_str(&line.map_err(io)?).map_err(|source| HistoryError::Line {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Op, Outcome};

    fn record(value: Option<&str>) -> Record {
        Record {
            client: 3,
            op: Op::Get,
            key: "shared/1".into(),
            value: value.map(str::to_owned),
            revision: value.map(|_| 7),
            deleted: None,
            call_ns: 1,
            return_ns: u64::MAX,
            outcome: Outcome::Ok,
            served_by: "conure-0".into(),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let records = [record(Some("1.1")), record(None)];
        let mut writer = HistoryWriter::create(&path).unwrap();
        for record in &records {
            writer.append(record).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(read(&path).unwrap(), records);
    }

    #[test]
    fn a_broken_line_is_named_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let good = serde_json::to_string(&record(None)).unwrap();
        std::fs::write(&path, format!("{good}\n{{\"client\":\n")).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2 of"));
    }
}
