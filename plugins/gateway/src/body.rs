//! Reading what a caller sends, within limits of size and time.

use std::{collections::HashMap, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{StatusCode, header},
};
use bytes::Bytes;
use multer::{Constraints, Multipart, SizeLimit};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::{State, fields::Fields, problem::Problem};

/// Largest JSON document, in bytes: a prompt, another one, and room.
const MAX_JSON_BYTES: usize = 256 << 10;
/// Largest form, in bytes: the pictures that one request of the daemon may have, and room.
const MAX_FORM_BYTES: usize = 36 << 20;
/// Most parts of a form.
const MAX_PARTS: usize = 64;
/// Longest text in a form, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// How long a body may take to arrive.
const MAX_TIME: Duration = Duration::from_secs(60);

/// A form: its texts and its files. A file may come several times.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) fields: Fields,
    pub(crate) files: HashMap<String, Vec<Bytes>>,
}

impl Form {
    /// The files of a name, which may be written with brackets as lists are.
    pub(crate) fn take(&mut self, name: &str) -> Vec<Bytes> {
        self.files.remove(name).unwrap_or_default()
    }
}

/// The fields of a JSON document.
pub(crate) async fn json(request: Request) -> Result<Fields, Problem> {
    if !is_of_type(&request, "application/json") {
        let message = "a JSON document is expected, with `Content-Type: application/json`";
        return Err(unsupported(message));
    }
    let bytes = whole(request.into_body(), MAX_JSON_BYTES).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(values)) => Ok(Fields::of_json(values)),
        Ok(_) => Err(Problem::request("the document is no JSON object")),
        // where it breaks, and none of its text
        Err(error) => Err(Problem::request(format!(
            "the document is no JSON: it breaks in line {}, column {}",
            error.line(),
            error.column()
        ))),
    }
}

/// The fields and files of a form. Only few of them are in memory at once: the others wait.
pub(crate) async fn form(state: &State, request: Request) -> Result<Form, Problem> {
    if !is_of_type(&request, "multipart/form-data") {
        let message =
            "a form with the picture's file is expected, as `Content-Type: multipart/form-data`";
        return Err(unsupported(message));
    }
    let _permit = state.uploads.acquire().await;
    timeout(MAX_TIME, read_form(request))
        .await
        .unwrap_or_else(|_elapsed| Err(Problem::slow()))
}

async fn read_form(request: Request) -> Result<Form, Problem> {
    let boundary =
        multer::parse_boundary(content_type(&request)).map_err(|error| of_part(&error))?;
    let limits = SizeLimit::new().whole_stream(MAX_FORM_BYTES as u64);
    let stream = request.into_body().into_data_stream();
    let mut parts =
        Multipart::with_constraints(stream, boundary, Constraints::new().size_limit(limits));
    let (mut texts, mut files) = (Map::new(), HashMap::<String, Vec<Bytes>>::new());
    let mut count = 0;
    loop {
        let part = match parts.next_field().await {
            Ok(Some(part)) => part,
            Ok(None) => break,
            Err(error) => return Err(of_part(&error)),
        };
        count += 1;
        if count > MAX_PARTS {
            return Err(Problem::request(format!(
                "the form has more than {MAX_PARTS} parts"
            )));
        }
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = part.file_name().is_some();
        let bytes = part.bytes().await.map_err(|error| of_part(&error))?;
        let (name, is_list) = match name.strip_suffix("[]") {
            Some(name) => (name.to_owned(), true),
            None => (name, false),
        };
        if is_file {
            files.entry(name).or_default().push(bytes);
            continue;
        }
        if bytes.len() > MAX_TEXT_BYTES {
            return Err(Problem::value(
                name,
                format!("it is longer than {MAX_TEXT_BYTES} bytes"),
            ));
        }
        let Ok(text) = String::from_utf8(bytes.to_vec()) else {
            return Err(Problem::value(name, "it is no UTF-8"));
        };
        if is_list {
            if let Value::Array(list) = texts
                .entry(name)
                .or_insert_with(|| Value::Array(Vec::new()))
            {
                list.push(Value::String(text));
            }
        } else {
            texts.insert(name, Value::String(text));
        }
    }
    Ok(Form {
        fields: Fields::of_form(texts),
        files,
    })
}

fn of_part(error: &multer::Error) -> Problem {
    match error {
        multer::Error::StreamSizeExceeded { .. } => Problem::too_large(format!(
            "the form is larger than {} MiB",
            MAX_FORM_BYTES >> 20
        )),
        error => Problem::request(format!("the form cannot be read: {error}")),
    }
}

fn unsupported(message: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "invalid_request_error",
        "unsupported_content_type",
        message,
    )
}

fn is_of_type(request: &Request, media_type: &str) -> bool {
    let value = content_type(request);
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(media_type)
}

fn content_type(request: &Request) -> String {
    let value = request.headers().get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}

async fn whole(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let message = format!("the document is larger than {limit} bytes, or broke off");
    timeout(MAX_TIME, to_bytes(body, limit))
        .await
        .map_err(|_elapsed| Problem::slow())?
        .map_err(|_error| Problem::too_large(message))
}
