//! Who asks: the name a client gives itself, or else its process.

use imgd_proto::CLIENT_NAME_METADATA as KEY;
use tonic::{Request, metadata::MetadataMap};

use crate::failure::Failure;

/// Longest name, in characters.
const MAX_NAME: usize = 64;

/// The process at the other end of a connection, as the system tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its id; `None` where the system does not tell.
    pub pid: Option<i32>,
}

/// The client of a call. Clients of one name share what one client may have waiting, and take one turn.
pub(super) fn of<T>(request: &Request<T>) -> Result<String, Failure> {
    if let Some(name) = named(request.metadata())? {
        return Ok(name);
    }
    let pid = request.extensions().get::<Peer>().and_then(|peer| peer.pid);
    Ok(pid.map_or_else(|| "pid:unknown".to_owned(), |pid| format!("pid:{pid}")))
}

fn named(metadata: &MetadataMap) -> Result<Option<String>, Failure> {
    let Some(value) = metadata.get(KEY) else {
        return Ok(None);
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let name = value.to_str().unwrap_or_default();
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(Some(name.to_owned()));
    }
    let message = format!("{KEY} is no name of a client: it has 1 to {MAX_NAME} of [A-Za-z0-9_.-]");
    Err(Failure::invalid(KEY, message).with_hint("leave it out, and the process is the client"))
}

#[cfg(test)]
mod tests {
    use tonic::{Request, metadata::MetadataValue};

    use super::{KEY, Peer, of};

    #[test]
    fn a_name_comes_before_the_process_and_must_be_one() {
        let mut request = Request::new(());
        assert_eq!(of(&request).unwrap(), "pid:unknown");
        request.extensions_mut().insert(Peer { pid: Some(42) });
        assert_eq!(of(&request).unwrap(), "pid:42");
        let mut named = |name: &str| {
            let value = MetadataValue::try_from(name).unwrap();
            request.metadata_mut().insert(KEY, value);
            of(&request)
        };
        assert_eq!(named("editor-1.2").unwrap(), "editor-1.2");
        for wrong in ["", "a b", "pid:7", "é", &"x".repeat(65)] {
            let failure = named(wrong).unwrap_err();
            assert_eq!(failure.field.as_deref(), Some(KEY), "{wrong}");
        }
    }
}
