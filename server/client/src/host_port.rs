//! `HOST:PORT`, as in the flags of a member and in the request to join one.

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
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!("leave \"{scheme}://\" away"));
        }
        let (host, port) = text.rsplit_once(':').ok_or("it has no port")?;
        if !host.starts_with('[') && (is_ipv6(host) || is_ipv6(text)) {
            return Err("an IPv6 address needs brackets".into());
        }
        // A sign is no part of a port, although it is of a number.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 =
            port.parse().ok().filter(|_| digits).ok_or_else(|| format!("{port:?} is not a port"))?;
        if port == 0 {
            return Err("port 0 cannot be dialled".into());
        }
        let host = match host.strip_prefix('[') {
            Some(inner) => {
                let inner = inner.strip_suffix(']').ok_or("the bracket is not closed")?;
                inner.parse::<Ipv6Addr>().map_err(|_| format!("{inner:?} is not an IPv6 address"))?;
                inner
            }
            None => host,
        };
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.len() > 253 || !(is_ipv6(host) || host.chars().all(known)) {
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

fn is_ipv6(host: &str) -> bool {
    host.parse::<Ipv6Addr>().is_ok()
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
    fn bad_addresses_are_refused_for_what_is_wrong_with_them() {
        for (text, reason) in [
            ("", "no port"),
            ("localhost", "no port"),
            ("a:b", "\"b\" is not a port"),
            ("a:0", "port 0"),
            ("a:65536", "not a port"),
            ("a:+80", "not a port"),
            ("::1:80", "needs brackets"),
            ("::1", "needs brackets"),
            ("[::1:80", "not closed"),
            ("[x]:80", "not an IPv6 address"),
            ("a b:80", "not a host"),
            ("a:b:80", "not a host"),
            ("a/b:80", "not a host"),
            ("http://a:80", "leave \"http://\" away"),
            ("https://[::1]:80/", "leave \"https://\" away"),
        ] {
            let refused = Addr::parse(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
