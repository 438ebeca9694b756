use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// How long the server may be silent before a load is given up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The server that a load is put on, with the name it goes by in `Host`, and the
/// credential that every request brings, if it asks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    address: SocketAddr,
    host: Arc<str>,
    bearer: Option<Bearer>,
}

/// A key or a token. Whoever prints a target does not see it.
#[derive(Clone, PartialEq, Eq)]
struct Bearer(Arc<str>);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

/// An address that others than this machine could answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a loopback address, and loads are not put on anything else")]
pub struct NotLoopback(pub SocketAddr);

/// What is no URL of a server that a load can be put on.
#[derive(Debug, thiserror::Error)]
pub enum BadUrl {
    /// Encrypted, which the load generator does not speak.
    #[error(
        "{0}: https is not supported; give the address of the server itself (http://…), behind the proxy that does TLS"
    )]
    Https(String),
    /// Something else.
    #[error("{0}: expected http://HOST:PORT and nothing behind it")]
    NoHttp(String),
    /// The name has no address, or the port is no number.
    #[error("{0}: cannot be resolved")]
    Unresolved(String, #[source] io::Error),
}

impl Target {
    /// A server on this machine's loopback interface.
    pub fn loopback(address: SocketAddr) -> Result<Self, NotLoopback> {
        match address.ip().is_loopback() {
            true => Ok(Self::own(address, &address.to_string())),
            false => Err(NotLoopback(address)),
        }
    }

    /// A server wherever it is. Only for loads that its owner has asked for.
    pub fn own(address: SocketAddr, host: &str) -> Self {
        Self {
            address,
            host: host.into(),
            bearer: None,
        }
    }

    /// The same, where every request says `Authorization: Bearer` and this.
    pub fn with_bearer(self, credential: &str) -> Self {
        Self {
            bearer: Some(Bearer(credential.into())),
            ..self
        }
    }

    /// The credential that every request brings.
    pub fn bearer(&self) -> Option<&str> {
        self.bearer.as_ref().map(|Bearer(credential)| &**credential)
    }

    /// The lines with which the headers of every request begin.
    pub fn headers(&self) -> String {
        match self.bearer() {
            None => format!("Host: {self}\r\n"),
            Some(credential) => format!("Host: {self}\r\nAuthorization: Bearer {credential}\r\n"),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection that blocks, though never for longer than [`PATIENCE`].
    pub fn connect(&self) -> io::Result<TcpStream> {
        let connection = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        Ok(connection)
    }
}

/// As it is written in `Host`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// The address that `http://HOST:PORT` stands for, with its host and port as
/// they are written there. Of several addresses the first. Asks the system's resolver.
pub fn address_of(url: &str) -> Result<(SocketAddr, &str), BadUrl> {
    let no_http = || BadUrl::NoHttp(url.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(no_http)?;
    if scheme.eq_ignore_ascii_case("https") {
        return Err(BadUrl::Https(url.to_owned()));
    }
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if !scheme.eq_ignore_ascii_case("http") || host.is_empty() || !host.chars().all(is_host) {
        return Err(no_http());
    }
    let has_port = !host.ends_with(']') && host.contains(':');
    let resolved = match has_port {
        true => host.to_socket_addrs(),
        false => format!("{host}:80").to_socket_addrs(),
    };
    let unresolved = |error| BadUrl::Unresolved(url.to_owned(), error);
    let mut addresses = resolved.map_err(unresolved)?;
    let address = addresses.next();
    let none = || unresolved(io::Error::new(io::ErrorKind::NotFound, "no address"));
    Ok((address.ok_or_else(none)?, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_go_to_this_machine_only() {
        let check = |address: &str, accepted: bool| {
            let loopback = Target::loopback(address.parse().unwrap());
            assert_eq!(loopback.is_ok(), accepted, "{address}");
        };
        check("127.0.0.1:8005", true);
        check("127.8.0.1:1", true);
        check("[::1]:8005", true);
        check("0.0.0.0:8005", false);
        check("192.168.0.1:8005", false);
        check("[::]:8005", false);
        check("203.0.113.7:80", false);
    }

    #[test]
    fn every_request_brings_the_credential() {
        let target = Target::loopback("127.0.0.1:8005".parse().unwrap()).unwrap();
        assert_eq!(target.headers(), "Host: 127.0.0.1:8005\r\n");
        let known = target.with_bearer("secret");
        let expected = "Host: 127.0.0.1:8005\r\nAuthorization: Bearer secret\r\n";
        assert_eq!(known.headers(), expected);
        assert_eq!(known.to_string(), "127.0.0.1:8005");
        assert!(!format!("{known:?}").contains("secret"));
    }

    #[test]
    fn a_url_is_a_host_and_a_port() {
        let check = |url: &str, expected: (&str, &str)| {
            let (address, host) = address_of(url).unwrap();
            assert_eq!((address.to_string().as_str(), host), expected, "{url}");
        };
        check(
            "http://127.0.0.1:8005",
            ("127.0.0.1:8005", "127.0.0.1:8005"),
        );
        check(
            "HTTP://127.0.0.1:8005/",
            ("127.0.0.1:8005", "127.0.0.1:8005"),
        );
        check("http://[::1]:8005", ("[::1]:8005", "[::1]:8005"));
        check("http://[::1]", ("[::1]:80", "[::1]"));
        check("http://203.0.113.7", ("203.0.113.7:80", "203.0.113.7"));
        let (localhost, _) = address_of("http://localhost:8005").unwrap();
        assert!(localhost.ip().is_loopback());
    }

    #[test]
    fn what_is_no_such_url_is_refused() {
        assert!(matches!(
            address_of("https://127.0.0.1:8005"),
            Err(BadUrl::Https(_))
        ));
        let check = |url: &str| {
            let refusal = address_of(url).unwrap_err().to_string();
            assert!(refusal.starts_with(url), "{refusal}");
        };
        check("");
        check("127.0.0.1:8005");
        check("ftp://127.0.0.1:8005");
        check("http://");
        check("http://127.0.0.1:8005/v1/stream");
        check("http://127.0.0.1:8005?x");
        check("http://user@127.0.0.1:8005");
        check("http://127.0.0.1:8005\r\nX: y");
        check("http://127.0.0.1:99999");
        check("http://127.0.0.1:port");
    }
}
