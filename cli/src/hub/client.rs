//! HTTP to one hub: redirects followed by hand, the token for the hub's own host alone, answers told apart.

use std::{path::PathBuf, sync::Arc, time::Duration};

use imgd_models::RepoId;
use ureq::{
    Agent, Body,
    http::{HeaderMap, StatusCode, header},
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::{
    trouble::{Trouble, failed, quoted, refused},
    url::Url,
};
use crate::failure::Failure;

/// The hub where none is configured; tokens that `hf auth login` saved belong to it.
const USUAL_ENDPOINT: &str = "https://huggingface.co";

/// More redirects are a circle.
const MAX_REDIRECTS: usize = 8;

/// Longest wait that a host may ask for.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// What was configured, as `main` read it from the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    /// `HF_ENDPOINT`.
    pub(crate) endpoint: Option<String>,
    /// `HF_TOKEN`, for whatever host is configured.
    pub(crate) token: Option<String>,
    /// The file in which `hf auth login` keeps a token, for the usual hub.
    pub(crate) token_file: Option<PathBuf>,
    /// `HF_HUB_OFFLINE`.
    pub(crate) is_offline: bool,
}

/// A hub that can be asked.
pub(super) struct Hub {
    agent: Agent,
    endpoint: Url,
    token: Option<String>,
}

/// An answer that may be read.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// What the hub's own host said on the way here, the last of each.
    pub(super) from_hub: HeaderMap,
    pub(super) body: Body,
}

impl Hub {
    /// A hub as configured. `silence` is how long a host may say nothing.
    pub(super) fn new(access: &Access, silence: Duration) -> Result<Self, Failure> {
        if access.is_offline {
            return Err(
                Failure::usage("HF_HUB_OFFLINE is set, so nothing is fetched")
                    .hint("unset it for this command: `env -u HF_HUB_OFFLINE imgctl pull …`"),
            );
        }
        let set = access.endpoint.as_deref();
        let endpoint = Url::parse(set.unwrap_or(USUAL_ENDPOINT)).map_err(|why| {
            Failure::usage(format!("HF_ENDPOINT {why}"))
                .hint("it is an address such as https://huggingface.co")
        })?;
        let token = token(access, &endpoint)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("imgctl/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_resolve(Some(silence))
            .timeout_connect(Some(silence))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .tls_config(TlsConfig::builder().root_certs(root_certificates()).build())
            .build();
        Ok(Self {
            agent: config.into(),
            endpoint,
            token,
        })
    }

    /// The address of `path` on the hub.
    pub(super) fn url(&self, path: &str) -> Url {
        self.endpoint.below(path)
    }

    /// Whether an address is of the hub's own host.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.is_same_origin(&self.endpoint)
    }

    /// Where a person reads about a repository.
    pub(super) fn page(&self, repo: &RepoId) -> String {
        self.url(&format!("/{repo}")).to_string()
    }

    /// Asks for what is at `url`, from byte `from` on where that is not 0. The answer is one with a body to read.
    pub(super) fn get(&self, url: &Url, from: u64, repo: &RepoId) -> Result<Reply, Trouble> {
        let mut url = url.clone();
        let mut from_hub = HeaderMap::new();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.agent.get(url.to_string());
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let is_own = self.is_own(&url);
            if let (Some(token), true) = (&self.token, is_own) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| of_transport(&error, &url))?;
            let (head, body) = response.into_parts();
            if is_own {
                from_hub.extend(head.headers.clone());
            }
            match head.status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                    return Ok(Reply {
                        status: head.status,
                        headers: head.headers,
                        from_hub,
                        body,
                    });
                }
                status if status.is_redirection() => {
                    url = self.redirected(&url, &head.headers)?;
                }
                status => return Err(self.of_status(status, &head.headers, &url, repo)),
            }
        }
        Err(refused(&format!("{} redirects in a circle", self.endpoint.host())).into())
    }

    /// Where a redirect leads: never from a protected address to one that is not.
    fn redirected(&self, url: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
        let location = text(headers, header::LOCATION.as_str()).unwrap_or_default();
        let target = url.join(&location).map_err(|why| {
            refused(&format!(
                "{} redirects to {}, which {why}",
                url.host(),
                quoted(&location)
            ))
        })?;
        let may_be_open = !self.endpoint.is_https() && target.is_loopback();
        if target.is_https() || self.is_own(&target) || may_be_open {
            return Ok(target);
        }
        Err(refused(&format!(
            "{} redirects to {}, which is not encrypted",
            url.host(),
            target.host()
        )))
    }

    fn of_status(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        url: &Url,
        repo: &RepoId,
    ) -> Trouble {
        let host = url.host();
        let code = text(headers, "x-error-code").unwrap_or_default();
        let passing = |why: String| Trouble::Passing {
            why,
            wait: retry_after(headers),
        };
        match status.as_u16() {
            408 | 425 | 500..=599 => passing(format!("{host} answered {status}")),
            429 => passing(format!("{host} asks to come back later ({status})")),
            // A signed address has its time.
            403 if !self.is_own(url) => passing(format!("{host} answered {status}")),
            416 => passing(format!("{host} has no such range ({status})")),
            401 | 403 if code == "GatedRepo" || (self.token.is_some() && code.is_empty()) => {
                failed(format!("{host} does not hand out `{repo}`: {status}"))
                    .hint(format!(
                        "accept its licence at {}, and set HF_TOKEN to a token of that account",
                        self.page(repo)
                    ))
                    .into()
            }
            401 | 403 => {
                let token = if self.token.is_some() {
                    "the token may not read it"
                } else {
                    "if it is private or asks for consent, accept its licence there and set HF_TOKEN"
                };
                failed(format!(
                    "{host} has no `{repo}`, or does not show it: {status}"
                ))
                .hint(format!("look at {}; {token}", self.page(repo)))
                .into()
            }
            404 => {
                let what = match code.as_str() {
                    "RevisionNotFound" => "that revision of",
                    "EntryNotFound" => "that file in",
                    _ => "what was asked for of",
                };
                failed(format!("{host} does not have {what} `{repo}` ({status})"))
                    .hint(format!("look at {}", self.page(repo)))
                    .into()
            }
            _ => failed(format!("{host} answered {status}")).into(),
        }
    }
}

/// A header's value, where it is text.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// How long the host asks to wait, where it says so in seconds and is not out of its mind.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = text(headers, header::RETRY_AFTER.as_str())?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// The token for `endpoint`: what the environment says, for whatever host is configured; a saved one for the usual host.
fn token(access: &Access, endpoint: &Url) -> Result<Option<String>, Failure> {
    if !endpoint.is_private() {
        return Ok(None);
    }
    let usual = Url::parse(USUAL_ENDPOINT).is_ok_and(|usual| usual.is_same_origin(endpoint));
    let saved = || {
        let file = access.token_file.as_deref().filter(|_| usual)?;
        std::fs::read_to_string(file).ok()
    };
    let Some(token) = access.token.clone().or_else(saved) else {
        return Ok(None);
    };
    let token = token.trim();
    if token.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(
            Failure::usage("the Hugging Face token holds characters that no token has")
                .hint("set HF_TOKEN anew, from https://huggingface.co/settings/tokens"),
        );
    }
    Ok(Some(token.to_owned()).filter(|token| !token.is_empty()))
}

/// The machine's own certificates, so that a company's are among them; Mozilla's where it has none.
fn root_certificates() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates = found
        .iter()
        .map(|der| Certificate::from_der(der.as_ref()).to_owned());
    RootCerts::Specific(Arc::new(certificates.collect()))
}

/// A connection that failed. Wrong certificates last; nearly all else may pass.
fn of_transport(error: &ureq::Error, url: &Url) -> Trouble {
    let host = url.host();
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => {
            failed(format!("cannot trust {host}: {error}"))
                .hint("SSL_CERT_FILE names a file of certificates to trust besides")
                .into()
        }
        ureq::Error::Timeout(_) => Trouble::passing(format!("{host} says nothing")),
        ureq::Error::HostNotFound => Trouble::passing(format!("{host} is not found")),
        ureq::Error::InvalidProxyUrl | ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            failed(format!("cannot ask {host}: {error}")).into()
        }
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
            Trouble::passing(format!("{host} answered what is not HTTP: {error}"))
        }
        _ => Trouble::passing(format!("no connection to {host}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(access: &Access) -> Option<String> {
        Hub::new(access, Duration::from_secs(1)).unwrap().token
    }

    #[test]
    fn a_saved_token_is_for_the_usual_host_and_one_that_is_set_for_the_configured_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "hf_saved\n").unwrap();
        let access = |endpoint: Option<&str>, token: Option<&str>| Access {
            endpoint: endpoint.map(str::to_owned),
            token: token.map(str::to_owned),
            token_file: Some(file.clone()),
            is_offline: false,
        };
        let mirror = Some("https://mirror.example");
        assert_eq!(sent(&access(None, None)).as_deref(), Some("hf_saved"));
        assert_eq!(
            sent(&access(None, Some("hf_set"))).as_deref(),
            Some("hf_set")
        );
        assert_eq!(sent(&access(mirror, None)), None);
        assert_eq!(
            sent(&access(mirror, Some("hf_set"))).as_deref(),
            Some("hf_set")
        );
        let open = Some("http://mirror.example");
        assert_eq!(sent(&access(open, Some("hf_set"))), None);
    }

    #[test]
    fn redirects_lead_from_an_encrypted_host_to_encrypted_ones_alone() {
        let leads = |endpoint: &str, target: &str| {
            let access = Access {
                endpoint: Some(endpoint.to_owned()),
                ..Access::default()
            };
            let hub = Hub::new(&access, Duration::from_secs(1)).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, target.parse().unwrap());
            hub.redirected(&hub.url("/a"), &headers).is_ok()
        };
        assert!(leads("https://hub.example", "https://cdn.example/x"));
        assert!(leads("https://hub.example", "/x"));
        assert!(!leads("https://hub.example", "http://cdn.example/x"));
        assert!(!leads("https://hub.example", "http://127.0.0.1/x"));
        assert!(!leads("https://hub.example", "file:///etc/passwd"));
        assert!(leads("http://127.0.0.1:1", "http://localhost:2/x"));
        assert!(!leads("http://127.0.0.1:1", "http://cdn.example/x"));
    }

    #[test]
    fn waiting_times_have_a_limit() {
        let wait = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("99999999"), Some(MAX_WAIT));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), None);
    }
}
