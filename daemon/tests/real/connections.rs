//! 50 ways to abuse a connection, and a daemon that goes on.

use std::time::{Duration, Instant};

use imgd_proto::v1;
use tokio::{io::AsyncWriteExt as _, net::UnixStream};

use crate::{
    house::{House, small},
    http2::{self, GREETING, begin},
};

/// Abuses in all: ten kinds, five times each.
const ABUSES: usize = 50;

/// What is left of an abuse: a connection that is held, or nothing.
async fn abuse(house: &House, kind: usize) -> Option<UnixStream> {
    let mut stream = house.raw().await;
    // More pictures than the connection's window takes, so that a reader who does not read stands still.
    let many = v1::GenerateRequest {
        num_images: Some(64),
        ..small()
    };
    match kind {
        // Says nothing.
        0 => {}
        // Begins to greet and goes silent.
        1 => stream.write_all(&GREETING[..10]).await.unwrap(),
        // Greets one byte at a time and leaves.
        2 => {
            for byte in &GREETING[..20] {
                stream.write_all(&[*byte]).await.unwrap();
            }
            return None;
        }
        // Speaks something else.
        3 => stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap(),
        // Breaks the protocol.
        4 => stream
            .write_all(&[GREETING, &[0xff; 64]].concat())
            .await
            .unwrap(),
        // Half a call, and then nothing.
        5 => {
            let call = http2::generate(&many);
            stream.write_all(&call[..call.len() - 7]).await.unwrap();
        }
        // Is killed in the middle of a picture.
        6 => {
            drop(begin(stream, &many).await);
            return None;
        }
        // Reads no more, and answers no pings, in the middle of a picture.
        7 => return Some(begin(stream, &many).await),
        // Half open: writes no more, and does not read.
        8 => {
            stream = begin(stream, &many).await;
            stream.shutdown().await.unwrap();
        }
        // Half open the other way: nothing can be written to it.
        _ => {
            let begun = begin(stream, &many).await.into_std().unwrap();
            begun.shutdown(std::net::Shutdown::Read).unwrap();
            stream = UnixStream::from_std(begun).unwrap();
        }
    }
    Some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn abused_connections_are_closed_and_leave_a_daemon_that_draws() {
    let house = House::with(|imgd| {
        imgd.args(["--first-byte-timeout", "1s"]);
    })
    .await;
    let first = house.picture(small()).await;
    // The journal is read for the first time here, and opens what it reads.
    house.status().await;
    let Ok(base) = house.descriptors() else {
        eprintln!("skipped: this user may not count the daemon's descriptors");
        return;
    };
    let mut held = Vec::new();
    for index in 0..ABUSES {
        held.extend(abuse(&house, index % 10).await);
    }
    assert!(held.len() >= ABUSES / 2);

    // It answers while they are all there,
    let start = Instant::now();
    house.status().await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(house.picture(small()).await.file, first.file);
    // it closes every one of them by itself, though not one was let go,
    house.descriptors_are_back(base).await;
    eprintln!("descriptors back to {base:?} after {:?}", start.elapsed());
    // and nothing of their work is left, once an evaluation that had begun is over.
    house.queue_is_empty().await;
    assert_eq!(house.picture(small()).await.file, first.file);
    drop(held);
}
