//! Addresses of pictures: unguessable, and good for an hour.
//!
//! Who has one may look at the picture without the key, as OpenAI's callers do; the picture itself stays with the daemon.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{Path, State as Extract},
    http::{HeaderValue, header},
    response::Response,
};
use imgd_client::Image;
use uuid::Uuid;

use crate::{
    Shared,
    drawing::{format_name, media_type},
    problem::Problem,
};

/// Beginning of the paths.
pub(crate) const PICTURES: &str = "/v1/images/files/";
/// How long an address is good.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// Most addresses that are known; the oldest go first.
const MAX: usize = 4096;

/// The addresses that are good.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    pictures: HashMap<String, Picture>,
    /// In the order in which they were made.
    order: VecDeque<String>,
}

/// A picture of a job.
#[derive(Debug, Clone)]
struct Picture {
    job_id: String,
    index: u32,
    until: Instant,
}

impl Links {
    /// The path of a picture's new address.
    pub(super) fn add(&self, job_id: &str, image: &Image) -> String {
        let name = self.insert(job_id, image.index, Instant::now());
        format!("{PICTURES}{name}.{}", format_name(image.format))
    }

    fn insert(&self, job_id: &str, index: u32, now: Instant) -> String {
        // 122 random bits from the system
        let name = Uuid::new_v4().simple().to_string();
        let picture = Picture {
            job_id: job_id.to_owned(),
            index,
            until: now + LIFE,
        };
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while table.order.len() >= MAX {
            let Some(oldest) = table.order.pop_front() else {
                break;
            };
            table.pictures.remove(&oldest);
        }
        table.pictures.insert(name.clone(), picture);
        table.order.push_back(name.clone());
        name
    }

    fn find(&self, name: &str, now: Instant) -> Option<Picture> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table
            .pictures
            .get(name)
            .filter(|picture| now < picture.until)
            .cloned()
    }
}

/// `GET /v1/images/files/NAME.png`.
pub(super) async fn picture(
    Extract(state): Shared,
    Path(file): Path<String>,
) -> Result<Response, Problem> {
    let name = file.split('.').next().unwrap_or_default();
    let picture = state.links.find(name, Instant::now()).ok_or_else(|| {
        Problem::not_found(
            "image_expired",
            "there is no picture at this address, or not any more",
        )
    })?;
    let client = state.daemon.shared().await?;
    let image = client.image(&picture.job_id, picture.index).await?;
    let format = format_name(image.format);
    let mut response = Response::new(Body::from(image.bytes));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type(image.format)),
    );
    // pages that were given the address may show it
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("cross-origin"),
    );
    let disposition = format!("inline; filename=\"imgd-{}.{format}\"", image.settings.seed);
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_good_for_an_hour() {
        let (links, now) = (Links::default(), Instant::now());
        let name = links.insert("a", 3, now);
        assert_eq!(name.len(), 32);
        assert_ne!(name, links.insert("a", 3, now));
        let found = links
            .find(&name, now + LIFE - Duration::from_secs(1))
            .unwrap();
        assert_eq!((found.job_id.as_str(), found.index), ("a", 3));
        assert!(links.find(&name, now + LIFE).is_none());
        assert!(links.find("", now).is_none());
    }

    #[test]
    fn the_oldest_addresses_go_first() {
        let (links, now) = (Links::default(), Instant::now());
        let first = links.insert("a", 0, now);
        let second = links.insert("a", 1, now);
        for index in 2..=u32::try_from(MAX).unwrap() {
            links.insert("a", index, now);
        }
        assert!(links.find(&first, now).is_none());
        assert!(links.find(&second, now).is_some());
    }
}
