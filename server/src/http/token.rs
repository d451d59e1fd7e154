//! The administration's token.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

use super::problem::Problem;

/// How long a token may be.
const TOKEN_LEN_MAX: u64 = 4096;

/// Who may administer: everyone, or whoever knows the token in a file.
///
/// The file is read for every administrative request: there are few of those, and a Secret that changes takes effect at
/// once.
#[derive(Debug, Clone)]
pub(super) struct Gate(Option<Arc<PathBuf>>);

impl Gate {
    /// Checks that the file holds a token now.
    pub(super) fn new(file: Option<PathBuf>) -> Result<Self, String> {
        if let Some(file) = &file {
            read(file)?;
        }
        Ok(Self(file.map(Arc::new)))
    }

    /// Lets a request pass that holds the token, where one is needed.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(file) = self.0.clone() else { return Ok(()) };
        let read = tokio::task::spawn_blocking(move || read(&file)).await;
        let token = match read {
            Ok(Ok(token)) => token,
            Ok(Err(reason)) => return Err(unreadable(&reason)),
            Err(error) => return Err(unreadable(&error.to_string())),
        };
        let Some(given) = headers.get(AUTHORIZATION) else {
            return Err(Problem::unauthorized("administration needs the header Authorization: Bearer TOKEN"));
        };
        let given = given.as_bytes().split_at_checked("Bearer ".len());
        match given {
            Some((scheme, given))
                if scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(token.as_bytes())) =>
            {
                Ok(())
            }
            _ => Err(Problem::unauthorized("that is not the administration's token")),
        }
    }
}

/// The path stays out of answers; the log has it.
fn unreadable(reason: &str) -> Problem {
    tracing::error!(reason, "the admin token cannot be read; administration is refused");
    Problem::internal("the admin token cannot be read; see the member's log")
}

/// The token that a file holds; the error names the file and says what to do.
pub fn read(file: &Path) -> Result<String, String> {
    let bad = |reason: String| format!("--admin-token-file {:?}: {reason}", file.display().to_string());
    let size =
        std::fs::metadata(file).map_err(|error| bad(format!("cannot be read: {error}; name a file")))?.len();
    if size > TOKEN_LEN_MAX {
        return Err(bad(format!("it holds {size} bytes; a token has at most {TOKEN_LEN_MAX}")));
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| bad(format!("cannot be read: {error}; name a text file")))?;
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(bad("it holds no token; write one word of printable ASCII into it".into()));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[tokio::test]
    async fn only_the_token_passes_and_a_changed_file_counts_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "sesame\n").unwrap();
        let gate = Gate::new(Some(file.clone())).unwrap();
        assert!(gate.check(&headers("Bearer sesame")).await.is_ok());
        assert!(gate.check(&headers("bearer sesame")).await.is_ok());
        for wrong in ["Bearer sesam", "Bearer sesame2", "Bearer ", "Basic sesame", "sesame", ""] {
            assert!(gate.check(&headers(wrong)).await.is_err(), "{wrong}");
        }
        assert!(gate.check(&HeaderMap::new()).await.is_err());
        std::fs::write(&file, "other").unwrap();
        assert!(gate.check(&headers("Bearer sesame")).await.is_err());
        assert!(gate.check(&headers("Bearer other")).await.is_ok());
        std::fs::remove_file(&file).unwrap();
        assert!(gate.check(&headers("Bearer other")).await.is_err());
    }

    #[test]
    fn a_file_without_a_token_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        assert!(Gate::new(Some(file.clone())).unwrap_err().contains("cannot be read"));
        for content in ["", " \n", "two words", "\u{fc}"] {
            std::fs::write(&file, content).unwrap();
            assert!(Gate::new(Some(file.clone())).unwrap_err().contains("--admin-token-file"), "{content:?}");
        }
        assert!(Gate::new(None).is_ok());
    }
}
