//! What the tables' columns hold, to and from Rust.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message;

use super::error::{Error, damaged};
use crate::engine::{ModelKey, Place};

/// Microseconds since 1970; what is before or beyond the range is its end.
pub(super) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The time of so many microseconds since 1970.
pub(super) fn time(micros: i64) -> SystemTime {
    let since = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// The time as the contract writes it.
pub(super) fn timestamp(micros: i64) -> prost_types::Timestamp {
    time(micros).into()
}

/// A message of the contract, encoded.
pub(super) fn encoded(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// A message of the contract, where there is one.
pub(super) fn decoded<M: Message + Default>(bytes: Option<Vec<u8>>) -> Result<Option<M>, Error> {
    Ok(bytes.map(|bytes| M::decode(&*bytes)).transpose()?)
}

/// A value of one of the contract's enumerations.
pub(super) fn enumeration<E: TryFrom<i32>>(column: &str, value: i32) -> Result<E, Error> {
    E::try_from(value)
        .ok()
        .ok_or_else(|| Error::Refused(damaged(&format!("{column} is {value}"))))
}

/// The column `model_path`.
pub(super) fn model_path(model: &ModelKey) -> Option<Vec<u8>> {
    match &model.place {
        Place::Embedded => None,
        Place::Directory(path) | Place::Configured { file: path, .. } | Place::Upscaler(path) => {
            Some(path.as_os_str().as_bytes().to_vec())
        }
    }
}

/// A model from its columns.
pub(super) fn model_key(
    name: String,
    path: Option<Vec<u8>>,
    submission: &imgd_proto::v1::SubmitJobRequest,
) -> ModelKey {
    let request = submission.generate.as_ref();
    let is_upscaler = request.is_some_and(|request| request.upscale.is_some());
    let place = path.map_or(Place::Embedded, |path| {
        let path = PathBuf::from(OsStr::from_bytes(&path));
        if is_upscaler {
            Place::Upscaler(path)
        } else {
            Place::Directory(path)
        }
    });
    let precision = request.map(|request| request.precision());
    let config = request.map(|request| request.model_config.as_str());
    ModelKey {
        place,
        name,
        precision: imgd_proto::v1::Precision::Auto,
    }
    .with_precision(precision.unwrap_or_default())
    .with_config(config.unwrap_or_default())
    .with_parts(request.map_or(&[], |request| &request.model_parts))
}
