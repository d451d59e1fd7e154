//! A member's HTTP address, as users type it.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use crate::ClientError;

/// The HTTP address of a member: `http://HOST:PORT`, or `HOST:PORT` alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    base: String,
}

impl Server {
    /// The URL of a path and query on this server.
    pub(crate) fn url(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.base)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl FromStr for Server {
    type Err = ClientError;

    fn from_str(given: &str) -> Result<Self, ClientError> {
        let bad = |reason: &str| ClientError::Address { given: given.to_owned(), reason: reason.to_owned() };
        let given = given.trim();
        let full = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
        let url = Url::parse(&full).map_err(|error| bad(&error.to_string()))?;
        if url.scheme() != "http" {
            return Err(bad("only http:// is spoken"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it may hold no user name or password"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it may hold no path or query"));
        }
        let host = url.host_str().ok_or_else(|| bad("it names no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| bad("it names no port"))?;
        Ok(Self { base: format!("http://{host}:{port}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_a_scheme_are_the_same() {
        for given in
            ["http://localhost:8081", "localhost:8081", "localhost:8081/", " http://localhost:8081/ "]
        {
            assert_eq!(given.parse::<Server>().unwrap().to_string(), "http://localhost:8081", "{given}");
        }
        assert_eq!("[::1]:8081".parse::<Server>().unwrap().to_string(), "http://[::1]:8081");
        assert_eq!("10.0.0.1".parse::<Server>().unwrap().to_string(), "http://10.0.0.1:80");
    }

    #[test]
    fn what_is_no_server_address_is_refused_by_name() {
        for given in
            ["https://a:1", "http://a:1/kv", "http://u:p@a:1", "a:99999", "", "http://a:1?x", "ftp://a"]
        {
            let error = given.parse::<Server>().unwrap_err().to_string();
            assert!(error.contains(&format!("{given:?}")), "{given}: {error}");
        }
    }
}
