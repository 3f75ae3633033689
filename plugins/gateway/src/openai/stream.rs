//! The answer as events: previews while a picture is drawn, and the picture when it is finished.

use std::collections::HashMap;

use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use imgd_client::{Client, Event, Generation, Step};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Reply,
    answer::{common, failure, now, size, usage},
};
use crate::{
    masks,
    sse::{self, Gone, QUIET, Sender},
};

/// Begins to send. The work ends when the reader goes: the task drops the stream of the daemon's events.
pub(super) fn begin(
    client: Client,
    generation: Generation,
    reply: Reply,
    event: &'static str,
) -> Response {
    let (sender, response) = sse::channel();
    let telling = Telling {
        sender,
        reply,
        event,
        sizes: HashMap::new(),
        sent: HashMap::new(),
    };
    tokio::spawn(async move {
        // the reader has gone, or all is said
        telling.tell(generation).await.ok();
        drop(client);
    });
    response
}

struct Telling {
    sender: Sender,
    reply: Reply,
    event: &'static str,
    /// Width and height of each picture that was begun.
    sizes: HashMap<u32, (u32, u32)>,
    /// Previews that were sent of each.
    sent: HashMap<u32, u32>,
}

impl Telling {
    async fn tell(mut self, mut generation: Generation) -> Result<(), Gone> {
        loop {
            let event = tokio::select! {
                event = generation.next() => event,
                () = self.sender.closed() => return Err(Gone),
                () = sleep(QUIET) => {
                    self.sender.comment().await?;
                    continue;
                }
            };
            match event {
                None => return Ok(()),
                Some(Err(error)) => return self.sender.event("error", &failure(error)).await,
                Some(Ok(Event::Started(started))) => {
                    self.sizes
                        .insert(started.image_index, size(&started.settings));
                }
                Some(Ok(Event::Step(step))) => self.preview(step).await?,
                Some(Ok(Event::Image(image))) => {
                    let mut object = common(&image, &self.reply);
                    object.insert("b64_json".into(), json!(STANDARD.encode(&image.bytes)));
                    object.insert("image_index".into(), json!(image.index));
                    object.insert("seed".into(), json!(image.settings.seed));
                    object.insert("usage".into(), usage());
                    self.send("completed", Value::Object(object)).await?;
                }
                Some(Ok(_)) => {}
            }
        }
    }

    /// Sends a preview, unless as many as were wanted are sent. The last step's is left to the picture itself.
    async fn preview(&mut self, step: Step) -> Result<(), Gone> {
        let sent = self.sent.entry(step.image_index).or_default();
        let Some(preview) = step
            .preview
            .filter(|_| *sent < self.reply.partial_images && step.index < step.count)
        else {
            return Ok(());
        };
        let index = *sent;
        *sent += 1;
        let (width_px, height_px) = self
            .sizes
            .get(&step.image_index)
            .copied()
            .unwrap_or((preview.width_px, preview.height_px));
        let enlarge = move || masks::enlarged(&preview.png, width_px, height_px);
        let Ok(Some(png)) = tokio::task::spawn_blocking(enlarge).await else {
            return Ok(());
        };
        let object = json!({
            "b64_json": STANDARD.encode(&png),
            "partial_image_index": index,
            "image_index": step.image_index,
            "size": format!("{width_px}x{height_px}"),
            "quality": self.reply.quality,
            "background": "opaque",
            "output_format": "png",
        });
        self.send("partial_image", object).await
    }

    async fn send(&self, what: &str, mut object: Value) -> Result<(), Gone> {
        let name = format!("{}.{what}", self.event);
        object["type"] = json!(name);
        object["created_at"] = json!(now());
        self.sender.event(&name, &object).await
    }
}
