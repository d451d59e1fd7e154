//! `HOST:PORT`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A host and a port. The host is an IP address, a name, or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addr {
    /// An IPv6 address stands here without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl Addr {
    /// Parses `HOST:PORT`, `[IPV6]:PORT` or `:PORT`; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or("it has no port")?;
        let port: u16 = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
        if port == 0 {
            return Err("port 0 cannot be dialled".into());
        }
        let host = match host.strip_prefix('[') {
            Some(inner) => {
                let inner = inner.strip_suffix(']').ok_or("the bracket is not closed")?;
                inner.parse::<Ipv6Addr>().map_err(|_| format!("{inner:?} is not an IPv6 address"))?;
                inner
            }
            None if host.contains(':') => return Err("an IPv6 address needs brackets".into()),
            None => host,
        };
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.len() > 253 || !host.chars().all(known) {
            return Err(format!("{host:?} is not a host"));
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// Whether it means every interface: nobody can dial that.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.host.is_empty() || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified())
    }

    /// The same, with an address to bind where the host is empty: both families where the machine has IPv6.
    #[must_use]
    pub fn to_bind(&self) -> Self {
        if !self.host.is_empty() {
            return self.clone();
        }
        let ipv6 = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
        Self { host: if ipv6 { "::" } else { "0.0.0.0" }.to_owned(), port: self.port }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_come_back_as_typed() {
        for text in
            ["127.0.0.1:7001", "[::1]:8081", ":8081", "conure-0.conure-peers.ns.svc:7001", "0.0.0.0:1"]
        {
            assert_eq!(Addr::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_addresses_are_refused() {
        for text in
            ["", "localhost", "a:b", "a:0", "a:65536", "::1:80", "[::1:80", "[x]:80", "a b:80", "http://a:80"]
        {
            assert!(Addr::parse(text).is_err(), "{text}");
        }
    }
}
