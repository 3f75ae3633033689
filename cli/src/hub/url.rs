//! Addresses: what belongs to the configured host, and where a redirect may lead.

use ureq::http::Uri;

/// An absolute `http` or `https` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    is_https: bool,
    host: String,
    port: u16,
    /// Path and query, beginning with `/`.
    path: String,
}

impl Url {
    /// Reads an absolute address. Says what is wrong with it, to follow "it".
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_invalid| "is no address")?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("begins neither with https:// nor with http://"),
        };
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("holds a user name");
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err("names no host");
        }
        let usual = if is_https { 443 } else { 80 };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_https,
            host,
            port: authority.port_u16().unwrap_or(usual),
            path: path.to_owned(),
        })
    }

    /// The address that a `Location` or `Link` on this one means.
    pub(super) fn join(&self, target: &str) -> Result<Self, &'static str> {
        if target.starts_with("//") {
            let scheme = if self.is_https { "https" } else { "http" };
            return Self::parse(&format!("{scheme}:{target}"));
        }
        if target.starts_with('/') {
            return Self::parse(&format!("{}{target}", self.origin()));
        }
        Self::parse(target)
    }

    /// The address of `path` on the same host, below the path of this one.
    pub(super) fn below(&self, path: &str) -> Self {
        Self {
            path: format!("{}{path}", self.path.trim_end_matches('/')),
            ..self.clone()
        }
    }

    /// Whether both are of one scheme, host and port.
    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        (self.is_https, &self.host, self.port) == (other.is_https, &other.host, other.port)
    }

    /// Whether what is said to it can be read on the way by nobody else.
    pub(super) fn is_private(&self) -> bool {
        self.is_https || self.is_loopback()
    }

    pub(super) fn is_https(&self) -> bool {
        self.is_https
    }

    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let is_address = host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        is_address || host == "localhost"
    }

    /// Host, with the port where it is not the usual one.
    pub(super) fn host(&self) -> String {
        let usual = if self.is_https { 443 } else { 80 };
        if self.port == usual {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn origin(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}{}", self.origin(), self.path)
    }
}

/// A path of a repository as a part of an address.
pub(super) fn encoded(path: &str) -> String {
    use std::fmt::Write as _;
    path.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(text, "%{byte:02X}").ok();
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_scheme_name_and_port() {
        let url = |text| Url::parse(text).unwrap();
        let hub = url("https://huggingface.co");
        assert!(hub.is_same_origin(&url("https://HuggingFace.co:443/api")));
        for other in [
            "http://huggingface.co",
            "https://huggingface.co:444",
            "https://cdn.huggingface.co",
            "https://huggingface.co.evil.example",
        ] {
            assert!(!hub.is_same_origin(&url(other)), "{other}");
        }
        assert_eq!(
            url("http://[::1]:8080/a?b").to_string(),
            "http://[::1]:8080/a?b"
        );
    }

    #[test]
    fn redirects_are_read_as_browsers_read_them() {
        let hub = Url::parse("https://hub.example/a/b").unwrap();
        let joined = |target| hub.join(target).map(|url| url.to_string());
        assert_eq!(joined("/c?d=e").unwrap(), "https://hub.example/c?d=e");
        assert_eq!(joined("//cdn.example/x").unwrap(), "https://cdn.example/x");
        assert_eq!(
            joined("http://cdn.example/x").unwrap(),
            "http://cdn.example/x"
        );
        for wrong in ["file:///etc/passwd", "x", "", "https://a@b/", "gopher://x/"] {
            assert!(joined(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_machine_itself_has_many_names() {
        let is = |text: &str| Url::parse(text).unwrap().is_loopback();
        assert!(is("http://127.0.0.1:1") && is("http://[::1]") && is("http://localhost/"));
        assert!(!is("http://127.0.0.1.example") && !is("http://10.0.0.1"));
    }

    #[test]
    fn paths_are_encoded_but_for_their_slashes() {
        assert_eq!(encoded("a b/ü?#%.txt"), "a%20b/%C3%BC%3F%23%25.txt");
    }
}
