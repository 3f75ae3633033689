//! A hub of one repository and the host that its large files come from, as two local servers; both can be told to misbehave.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Path and query.
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
    /// Whether it came to the host of large files.
    pub(crate) is_at_cdn: bool,
    /// How many came for this path before.
    pub(crate) earlier: usize,
}

impl Request {
    /// A header's value; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte that is asked for.
    pub(crate) fn from(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Said of the body's length; none: the connection's end is the body's.
    pub(crate) length: Option<usize>,
    pub(crate) then: Then,
    /// Pause after each 64 KiB.
    pub(crate) pace: Duration,
}

/// What follows the body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Then {
    Close,
    /// Silence.
    Stall,
    /// More of it, without end.
    Endless,
}

impl Reply {
    pub(crate) fn new(status: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: Vec::new(),
            length: Some(body.len()),
            body,
            then: Then::Close,
            pace: Duration::ZERO,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }
}

/// Looks at a request and the honest answer to it, and gives another answer where it likes.
pub(crate) type Mischief = Box<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

/// The two servers. They end with the process.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    commit: Mutex<String>,
    mischief: Mischief,
    requests: Mutex<Vec<Request>>,
    cdn: SocketAddr,
}

/// The commit at the beginning.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl Hub {
    /// A hub of `files`, those that end with `.safetensors` large.
    pub(crate) fn start(files: &[(&str, Vec<u8>)], mischief: Mischief) -> Self {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let cdn = TcpListener::bind("127.0.0.1:0").unwrap();
        let files = files
            .iter()
            .map(|(path, body)| ((*path).to_owned(), body.clone()));
        let state = Arc::new(State {
            files: Mutex::new(files.collect()),
            commit: Mutex::new(COMMIT.to_owned()),
            mischief,
            requests: Mutex::default(),
            cdn: cdn.local_addr().unwrap(),
        });
        let address = own.local_addr().unwrap();
        for (listener, is_cdn) in [(own, false), (cdn, true)] {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let state = Arc::clone(&state);
                    // A client that was killed is no failure of the server.
                    std::thread::spawn(move || drop(state.serve(stream, is_cdn)));
                }
            });
        }
        Self { address, state }
    }

    /// One that does as it should.
    pub(crate) fn honest(files: &[(&str, Vec<u8>)]) -> Self {
        Self::start(files, Box::new(|_, honest| honest))
    }

    /// Everything that was asked for.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Another commit with another file.
    pub(crate) fn commit(&self, commit: &str, path: &str, body: &[u8]) {
        commit.clone_into(&mut self.state.commit.lock().unwrap());
        let mut files = self.state.files.lock().unwrap();
        files.insert(path.to_owned(), body.to_vec());
    }
}

impl State {
    fn serve(&self, stream: TcpStream, is_at_cdn: bool) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else {
                break;
            };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let mut request = Request {
            path,
            headers,
            is_at_cdn,
            earlier: 0,
        };
        {
            let mut requests = self.requests.lock().unwrap();
            let same =
                |known: &&Request| known.path == request.path && known.is_at_cdn == is_at_cdn;
            request.earlier = requests.iter().filter(same).count();
            requests.push(request.clone());
        }
        let honest = self.honest(&request);
        send(reader.into_inner(), &(self.mischief)(&request, honest))
    }

    fn honest(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let commit = self.commit.lock().unwrap().clone();
        let files = self.files.lock().unwrap();
        if let Some(blob) = path.strip_prefix("/cdn/") {
            let found = files.values().find(|body| sha256(body) == blob);
            return found.map_or_else(
                || Reply::new("404 Not Found", ""),
                |body| ranged(request, body),
            );
        }
        // /org/name/…, whatever the repository is called
        let parts: Vec<&str> = path.splitn(6, '/').collect();
        match parts.as_slice() {
            ["", "api", "models", _, _, rest] if rest.starts_with("revision/") => {
                json_reply(&json!({"sha": commit}))
            }
            ["", "api", "models", _, _, rest] if rest.starts_with("tree/") => {
                json_reply(&Value::Array(files.iter().map(entry).collect()))
            }
            ["", _, _, "resolve", at, name] => {
                let Some(body) = files.get(*name) else {
                    return Reply::new("404 Not Found", "").with("X-Error-Code", "EntryNotFound");
                };
                if !name.ends_with(".safetensors") {
                    return ranged(request, body)
                        .with("ETag", format!("\"{}\"", git(body)))
                        .with("X-Repo-Commit", *at);
                }
                let blob = sha256(body);
                Reply::new("302 Found", "")
                    .with("Location", format!("http://{}/cdn/{blob}", self.cdn))
                    .with("X-Linked-Etag", format!("\"{blob}\""))
                    .with("X-Linked-Size", body.len().to_string())
                    .with("X-Repo-Commit", *at)
            }
            _ => Reply::new("404 Not Found", ""),
        }
    }
}

fn entry((path, body): (&String, &Vec<u8>)) -> Value {
    let mut entry = json!({"type": "file", "path": path, "oid": git(body), "size": body.len()});
    if path.ends_with(".safetensors") {
        entry["lfs"] = json!({"oid": sha256(body), "size": body.len(), "pointerSize": 134});
    }
    entry
}

fn json_reply(value: &Value) -> Reply {
    Reply::new("200 OK", value.to_string()).with("Content-Type", "application/json")
}

fn ranged(request: &Request, body: &[u8]) -> Reply {
    match request.from() {
        Some(from) if from < body.len() => {
            let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
            Reply::new("206 Partial Content", &body[from..]).with("Content-Range", range)
        }
        Some(_) => Reply::new("416 Range Not Satisfiable", ""),
        None => Reply::new("200 OK", body),
    }
}

fn send(mut stream: TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(length) = reply.length {
        head += &format!("Content-Length: {length}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    for chunk in reply.body.chunks(1 << 16) {
        stream.write_all(chunk)?;
        std::thread::sleep(reply.pace);
    }
    match reply.then {
        Then::Close => Ok(()),
        Then::Stall => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Then::Endless => loop {
            stream.write_all(&[0; 4096])?;
        },
    }
}

/// The SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// What git calls a file of these bytes.
pub(crate) fn git(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that look like weights: none like another.
pub(crate) fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((seed >> 24).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
