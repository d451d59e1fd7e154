//! Keys and values.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ETAG, HeaderMap};

use crate::api::{DeleteAnswer, PutAnswer};
use crate::call::{Answer, Call, Client};
use crate::{ClientError, encode, problem};

/// The header that says how far a stale read's member is.
const REVISION: &str = "conure-revision";

/// A key that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The revision that last changed the key.
    pub revision: u64,
    /// The value.
    pub bytes: Bytes,
}

/// What a stale read saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleRead {
    /// The value, `None` where the key is absent.
    pub value: Option<Value>,
    /// The revision that the answering member has reached.
    pub revision: u64,
}

impl Client {
    /// Stores a value; returns once a quorum has it on disk.
    pub async fn put(&self, key: &[u8], value: impl Into<Bytes>) -> Result<PutAnswer, ClientError> {
        let call = Call::change(Method::PUT, format!("/kv?key={}", encode(key))).body(value.into());
        self.call(&call).await?.json()
    }

    /// Reads a value, linearizably; `None` where the key is absent.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Value>, ClientError> {
        match self.call(&Call::read(format!("/kv?key={}", encode(key)))).await {
            Ok(answer) => value(answer).map(Some),
            Err(error) if error.is(problem::KEY_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a value from the asked member's own state, which may be old.
    pub async fn get_stale(&self, key: &[u8]) -> Result<StaleRead, ClientError> {
        let call = Call::read(format!("/kv?key={}&stale=true", encode(key))).accept_missing();
        let answer = self.call(&call).await?;
        let revision = number(&answer.headers, REVISION)
            .ok_or_else(|| answer.unexpected("a stale read without a Conure-Revision header"))?;
        let value = if answer.status == 404 { None } else { Some(value(answer)?) };
        Ok(StaleRead { value, revision })
    }

    /// Deletes a key; returns once a quorum has that on disk.
    pub async fn delete(&self, key: &[u8]) -> Result<DeleteAnswer, ClientError> {
        self.call(&Call::change(Method::DELETE, format!("/kv?key={}", encode(key)))).await?.json()
    }
}

fn value(answer: Answer) -> Result<Value, ClientError> {
    let revision = number(&answer.headers, ETAG.as_str())
        .ok_or_else(|| answer.unexpected("a value without an ETag that is a revision"))?;
    Ok(Value { revision, bytes: answer.body })
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim_matches('"').parse().ok()
}
