//! `chinwag://host:port/room#fingerprint`: everything that a friend needs to join, in one line.

use alloc::string::{String, ToString as _};
use core::fmt;

use crate::limits;

/// The SHA-256 of the server's certificate (DER), by which a client knows that server again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// From the digest.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// From 64 hexadecimal digits; colons and spaces between them are ignored.
    pub fn parse(hex: &str) -> Result<Self, LinkError> {
        let mut digest = [0; 32];
        let mut digits = 0;
        for c in hex.chars().filter(|c| !matches!(c, ':' | ' ')) {
            let value = c.to_digit(16).ok_or(LinkError::Fingerprint)?;
            let byte: &mut u8 = digest.get_mut(digits / 2).ok_or(LinkError::Fingerprint)?;
            *byte = (*byte << 4) | u8::try_from(value).map_err(|_| LinkError::Fingerprint)?;
            digits += 1;
        }
        if digits == 64 { Ok(Self(digest)) } else { Err(LinkError::Fingerprint) }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Where to go: a host (name or address, without brackets), a port, perhaps a room and the server's fingerprint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// A host name or an IP address.
    pub host: String,
    /// The port, TCP and UDP.
    pub port: u16,
    /// The room to join, if one is named.
    pub room: Option<String>,
    /// The proof of who the server is, if given.
    pub fingerprint: Option<Fingerprint>,
}

/// Why a string is no link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkError {
    /// No host in it.
    NoHost,
    /// The port is no number from 1 to 65535.
    Port,
    /// Brackets that do not close, or text after them.
    Brackets,
    /// Not 64 hexadecimal digits.
    Fingerprint,
    /// Another scheme than `chinwag`.
    Scheme,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHost => "there is no host in it; write HOST, HOST:PORT or chinwag://HOST:PORT",
            Self::Port => "the port must be a number from 1 to 65535",
            Self::Brackets => "an IPv6 address with a port is written [ADDRESS]:PORT",
            Self::Fingerprint => "a fingerprint is 64 hexadecimal digits",
            Self::Scheme => "only chinwag:// links are understood",
        })
    }
}

impl core::error::Error for LinkError {}

impl Link {
    /// Reads `HOST`, `HOST:PORT`, `[V6]:PORT` or a bare IPv6 address, each perhaps with `/ROOM`, or a `chinwag://` link.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        let (rest, is_url) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("chinwag") => (rest, true),
            Some(_) => return Err(LinkError::Scheme),
            None => (text, false),
        };
        let (rest, fingerprint) = match rest.split_once('#') {
            Some((rest, hex)) if is_url => (rest, Some(Fingerprint::parse(hex)?)),
            Some(_) | None => (rest, None),
        };
        let (authority, room) = match rest.split_once('/') {
            Some((authority, room)) => (authority, Some(room.trim_end_matches('/'))),
            None => (rest, None),
        };
        let (host, port) = split_host_port(authority)?;
        let room = room.filter(|room| !room.is_empty()).map(percent_decoded);
        Ok(Self { host: host.to_string(), port: port.unwrap_or(limits::DEFAULT_PORT), room, fingerprint })
    }

    /// `HOST:PORT`, with brackets where the host is an IPv6 address: what known servers are listed by.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { alloc::format!("[{host}]:{port}") } else { alloc::format!("{host}:{port}") }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chinwag://{}", self.authority())?;
        if let Some(room) = &self.room {
            f.write_str("/")?;
            for byte in room.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    write!(f, "{}", char::from(byte))?;
                } else {
                    write!(f, "%{byte:02X}")?;
                }
            }
        }
        match &self.fingerprint {
            Some(fingerprint) => write!(f, "#{fingerprint}"),
            None => Ok(()),
        }
    }
}

fn split_host_port(authority: &str) -> Result<(&str, Option<u16>), LinkError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(LinkError::Brackets)?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(LinkError::Brackets),
        }
    } else if authority.matches(':').count() > 1 {
        (authority, None)
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let is_unfit =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '#' | '?' | '@' | '[' | ']');
    if host.is_empty() || host.contains(is_unfit) {
        return Err(LinkError::NoHost);
    }
    let port = match port {
        Some(digits) => Some(digits.parse().ok().filter(|&port| port != 0).ok_or(LinkError::Port)?),
        None => None,
    };
    Ok((host, port))
}

/// `%41` becomes `A`; what is no valid escape, or would not be UTF-8, stays as it is (the server judges room names).
fn percent_decoded(text: &str) -> String {
    let mut bytes = alloc::vec::Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |at: usize| tail.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn links_are_read_and_written_alike() {
        for text in [
            "chinwag://example.org:24469",
            "chinwag://10.0.0.1:7/attic",
            "chinwag://[::1]:24469/lobby#00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
            "chinwag://h:1/two%20words%2F%C3%A9",
        ] {
            assert_eq!(Link::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn short_forms_get_the_default_port() {
        for (text, authority) in [
            ("localhost", "localhost:24469"),
            ("localhost:99", "localhost:99"),
            ("::1", "[::1]:24469"),
            ("[fe80::1]", "[fe80::1]:24469"),
            ("[fe80::1]:8", "[fe80::1]:8"),
            ("chinwag://pub.example/", "pub.example:24469"),
        ] {
            assert_eq!(Link::parse(text).unwrap().authority(), authority);
        }
        let link = Link::parse("pub.example/attic").unwrap();
        assert_eq!((link.authority().as_str(), link.room.as_deref()), ("pub.example:24469", Some("attic")));
        let link = Link::parse(&alloc::format!("CHINWAG://h/r#{HEX}")).unwrap();
        assert_eq!(link.room.as_deref(), Some("r"));
        assert_eq!(link.fingerprint.unwrap().to_string(), HEX);
    }

    #[test]
    fn what_is_no_link_says_why() {
        for (text, error) in [
            ("", LinkError::NoHost),
            (":5", LinkError::NoHost),
            ("a b", LinkError::NoHost),
            ("h#12", LinkError::NoHost),
            ("\u{1b}[2J", LinkError::NoHost),
            ("h:0", LinkError::Port),
            ("h:65536", LinkError::Port),
            ("h:http", LinkError::Port),
            ("[::1", LinkError::Brackets),
            ("[::1]x", LinkError::Brackets),
            ("http://h", LinkError::Scheme),
            ("chinwag://h#12", LinkError::Fingerprint),
        ] {
            assert_eq!(Link::parse(text), Err(error), "{text:?}");
        }
    }
}
