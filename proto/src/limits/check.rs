//! One value against one limit.

use super::{FieldError, Limit, Range};

fn outside(limit: &Limit, value: impl std::fmt::Display) -> FieldError {
    let Limit { field, unit, .. } = limit;
    let space = if unit.is_empty() { "" } else { " " };
    FieldError::new(
        field,
        format!(
            "{field} is {value}{space}{unit}: it must be {}",
            limit.phrase()
        ),
    )
}

pub(super) fn whole(limit: &Limit, value: u32) -> Result<(), FieldError> {
    match limit.range {
        Range::Integer { min, max } if (min..=max).contains(&u64::from(value)) => Ok(()),
        _ => Err(outside(limit, value)),
    }
}

pub(super) fn number(limit: &Limit, value: f64) -> Result<(), FieldError> {
    match limit.range {
        // NaN is in no range.
        Range::Number { min, max } if (min..=max).contains(&value) => Ok(()),
        _ => Err(outside(limit, value)),
    }
}

pub(super) fn text(limit: &Limit, value: &str) -> Result<(), FieldError> {
    bytes_of(limit, value.len())
}

pub(super) fn bytes_of(limit: &Limit, length: usize) -> Result<(), FieldError> {
    match limit.range {
        Range::Bytes { max } if length as u64 <= max => Ok(()),
        _ => {
            let Limit { field, .. } = limit;
            let message = format!("{field} has {length} bytes: it may have {}", limit.phrase());
            Err(FieldError::new(field, message))
        }
    }
}

pub(super) fn identifier(limit: &Limit, value: &str) -> Result<(), FieldError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match limit.range {
        Range::Characters { max } if value.len() as u64 <= max && value.bytes().all(allowed) => {
            Ok(())
        }
        _ => {
            let Limit { field, .. } = limit;
            let message = format!("{field} may have {} of [A-Za-z0-9_-]", limit.phrase());
            Err(FieldError::new(field, message))
        }
    }
}

pub(super) fn enumeration<E: TryFrom<i32>>(
    field: &'static str,
    value: i32,
) -> Result<(), FieldError> {
    match E::try_from(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(FieldError::new(
            field,
            format!("{field} is {value}: the contract has no such value"),
        )
        .with_hint("the client may be newer than the daemon".to_owned())),
    }
}

/// Whether it is an absolute path, or a name that leads out of no folder.
pub(super) fn is_name_or_path(name: &str) -> bool {
    let is_inside = || {
        name.split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.'))
    };
    !name.contains('\0') && (name.starts_with('/') || is_inside())
}

pub(super) fn count_of<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}
