//! What a gateway is told, and what of it would be unsafe.

use std::{io, net::SocketAddr};

use imgd_client::ConnectOptions;

use crate::ApiKey;

/// Fewest characters of a key that other machines may try.
const MIN_KEY_CHARACTERS: usize = 16;

/// What a gateway is told.
#[derive(Debug, Default)]
pub struct Settings {
    /// How to reach the daemon.
    pub connect: ConnectOptions,
    /// What callers have to know; `None`: nothing, which only an address of this machine allows.
    pub key: Option<ApiKey>,
    /// Names, without port, by which it may be called besides `localhost`, this machine's own addresses and the address that a
    /// connection came to.
    pub allowed_hosts: Vec<String>,
    /// Origins, as in `https://example.org`, whose pages may call it from a browser.
    pub allowed_origins: Vec<String>,
}

/// Why a gateway cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Other machines could reach it and no key is set.
    #[error("{0} can be reached by other machines, and no key is set")]
    NoKey(SocketAddr),
    /// Other machines could try keys, and this one is short.
    #[error(
        "{0} can be reached by other machines, and the key has less than {MIN_KEY_CHARACTERS} characters"
    )]
    ShortKey(SocketAddr),
    /// An origin that is none.
    #[error("`{0}` is no origin")]
    Origin(String),
    /// A host that is none.
    #[error("`{0}` is no name of a host")]
    Host(String),
    /// The address cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoKey(_) | Self::ShortKey(_) => {
                "make one with `(umask 077; openssl rand -hex 32 > imgd.key)` and add \
                 `--api-key-file imgd.key`, or listen at 127.0.0.1"
                    .into()
            }
            Self::Origin(_) => {
                "give scheme and host as a browser does: `https://example.org`".into()
            }
            Self::Host(_) => {
                "give the name alone, without scheme and port: `images.example.org`".into()
            }
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another program has the port: choose another one with `--listen 127.0.0.1:PORT`"
                    .into()
            }
            Self::Listen { .. } => "choose another address with `--listen 127.0.0.1:PORT`".into(),
        }
    }
}

impl Settings {
    /// Checks them for an address; nothing has been opened yet.
    pub(crate) fn check(&self, address: SocketAddr) -> Result<(), Error> {
        if !address.ip().to_canonical().is_loopback() {
            let key = self.key.as_ref().ok_or(Error::NoKey(address))?;
            if key.characters() < MIN_KEY_CHARACTERS {
                return Err(Error::ShortKey(address));
            }
        }
        let bad_origin = self.allowed_origins.iter().find(|origin| {
            let host = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' ']))
        });
        if let Some(origin) = bad_origin {
            return Err(Error::Origin(origin.clone()));
        }
        let bad_host = self
            .allowed_hosts
            .iter()
            .find(|host| host.is_empty() || host.contains(['/', ':', '*', ' ']));
        bad_host.map_or(Ok(()), |host| Err(Error::Host(host.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key(key: Option<&str>) -> Settings {
        Settings {
            key: key.map(|key| ApiKey::new(key).unwrap()),
            ..Settings::default()
        }
    }

    #[test]
    fn other_machines_need_a_key_of_some_length() {
        let everywhere = "0.0.0.0:80".parse().unwrap();
        let mapped = "[::ffff:192.168.1.2]:80".parse().unwrap();
        for address in [everywhere, mapped] {
            assert!(matches!(
                with_key(None).check(address),
                Err(Error::NoKey(_))
            ));
            assert!(matches!(
                with_key(Some("short")).check(address),
                Err(Error::ShortKey(_))
            ));
            assert!(with_key(Some("0123456789abcdef")).check(address).is_ok());
        }
        for address in ["127.0.0.1:80", "[::1]:80", "127.3.2.1:1"] {
            assert!(with_key(None).check(address.parse().unwrap()).is_ok());
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for (origin, is_one) in [
            ("https://example.org", true),
            ("http://localhost:3000", true),
            ("*", false),
            ("https://example.org/", false),
            ("example.org", false),
            ("null", false),
        ] {
            let settings = Settings {
                allowed_origins: vec![origin.into()],
                ..Settings::default()
            };
            assert_eq!(
                settings.check("127.0.0.1:1".parse().unwrap()).is_ok(),
                is_one,
                "{origin}"
            );
        }
    }
}
