//! A gateway in front of a daemon, and a caller that says exactly what it says.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use imgd_e2e::{Daemon, Home};
use serde_json::Value;

/// `imgctl gateway` in front of a daemon of its own. Dropping it ends both.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) daemon: Daemon,
    said: Option<thread::JoinHandle<String>>,
}

impl Gateway {
    /// With further arguments, and a daemon with this configuration.
    pub(crate) fn start(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let daemon = Daemon::start_in(Home::with_config(config), |_| {});
        let mut child = daemon
            .imgctl()
            .args(["--json", "gateway", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("it said {line:?}"));
        let address = said["address"].as_str().unwrap().parse().unwrap();
        let said = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self {
            child,
            address,
            daemon,
            said: Some(said),
        }
    }

    /// Ends the gateway; what it said after its address.
    pub(crate) fn end(mut self) -> String {
        self.child.kill().unwrap();
        self.said.take().unwrap().join().unwrap()
    }

    /// A call of one request line and these headers.
    pub(crate) fn call(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.begin(line, headers, body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }

    /// As [`Gateway::call`], not waiting for the answer.
    pub(crate) fn begin(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        let mut head = format!(
            "{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // a body that is refused need not be read to its end
        stream.write_all(body).ok();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call(&format!("GET {path}"), &[], b"")
    }

    pub(crate) fn post(&self, path: &str, value: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.call(
            &format!("POST {path}"),
            &headers,
            value.to_string().as_bytes(),
        )
    }

    /// Posts a form. A part with a file name is a file.
    pub(crate) fn form(&self, path: &str, parts: &[(&str, Option<&str>, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (name, file, content) in parts {
            let file = file
                .map(|file| format!("; filename=\"{file}\""))
                .unwrap_or_default();
            body.extend(
                format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                    .bytes(),
            );
            body.extend(*content);
            body.extend(b"\r\n");
        }
        body.extend(b"--xyz--\r\n");
        let headers = [("Content-Type", "multipart/form-data; boundary=xyz")];
        self.call(&format!("POST {path}"), &headers, &body)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // it may have ended already
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("an answer has a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: HashMap<_, _> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers
            .get("transfer-encoding")
            .is_some_and(|coding| coding == "chunked")
        {
            body = unchunked(&body);
        }
        Self {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The error's field and code.
    pub(crate) fn error(&self) -> (u16, Option<String>, String) {
        let error = &self.json()["error"];
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{error}"
        );
        let param = error["param"].as_str().map(str::to_owned);
        (
            self.status,
            param,
            error["code"].as_str().unwrap().to_owned(),
        )
    }

    /// The events: names and data.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        let text = std::str::from_utf8(&self.body).unwrap();
        text.split("\n\n")
            .filter(|event| event.starts_with("event: "))
            .map(|event| {
                let (name, data) = event.split_once('\n').unwrap();
                let data = data.strip_prefix("data: ").unwrap();
                (
                    name["event: ".len()..].to_owned(),
                    serde_json::from_str(data).unwrap(),
                )
            })
            .collect()
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        whole.extend(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    whole
}

/// A line of events that is read as they come.
pub(crate) struct Line(BufReader<TcpStream>);

impl Gateway {
    /// Listens to the page's events, from these cursors on.
    pub(crate) fn listen(&self, after: &str) -> Line {
        let stream = self.begin(&format!("GET /api/events?after={after}"), &[], b"");
        Line(BufReader::new(stream))
    }
}

impl Line {
    /// The data of the first event that is looked for.
    pub(crate) fn until(&mut self, is_it: impl Fn(&str, &Value) -> bool) -> Value {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            let count = self.0.read_line(&mut line).unwrap();
            assert!(count > 0, "the line broke");
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.trim().to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                let data: Value = serde_json::from_str(text).unwrap();
                if is_it(&name, &data) {
                    return data;
                }
            }
        }
    }
}
