//! Just enough HTTP/2 by hand to be a bad client: it sends a call and then does what no library would.

use imgd_proto::v1;
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// The preface and empty settings (RFC 9113, 3.4).
pub(crate) const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Literal fields without indexing (RFC 7541, 6.2.2); names and values are shorter than 127 bytes.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields
        .iter()
        .flat_map(|(name, value)| [vec![0], text(name), text(value)].concat())
        .collect()
}

/// The bytes of a whole call of Generate.
pub(crate) fn generate(request: &v1::GenerateRequest) -> Vec<u8> {
    let headers = fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/imgd.v1.ImageService/Generate"),
        (":authority", "imgd"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]);
    let message = request.encode_to_vec();
    let mut data = vec![0];
    data.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    data.extend(message);
    [
        GREETING,
        &frame(HEADERS, END_HEADERS, 1, &headers),
        &frame(DATA, END_STREAM, 1, &data),
    ]
    .concat()
}

/// Sends a call and waits until its first events have come: the daemon is at work on it.
pub(crate) async fn begin(mut stream: UnixStream, request: &v1::GenerateRequest) -> UnixStream {
    stream.write_all(&generate(request)).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == DATA {
            return stream;
        }
    }
}
