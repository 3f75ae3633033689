//! The contract only grows: what the stored descriptor has, today's has too, with the same numbers and types.
//!
//! The stored descriptor is `proto/compat/imgd.v1.bin`. After something was added, store the new one: the failing
//! test `the_stored_descriptor_is_of_today` says how. After something was changed or taken away, do not.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{collections::BTreeMap, path::Path};

use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

/// Every element of the contract by its full name, with all that a client depends on.
type Elements = BTreeMap<String, String>;

const STORED: &[u8] = include_bytes!("../compat/imgd.v1.bin");

fn elements(bytes: &[u8]) -> Elements {
    let set = FileDescriptorSet::decode(bytes).unwrap();
    let mut elements = Elements::new();
    for file in set.file.iter().filter(|file| file.package() == "imgd.v1") {
        for message in &file.message_type {
            add_message(&mut elements, "imgd.v1", message);
        }
        for definition in &file.enum_type {
            add_enum(&mut elements, "imgd.v1", definition);
        }
        for service in &file.service {
            for method in &service.method {
                elements.insert(
                    format!("rpc imgd.v1.{}/{}", service.name(), method.name()),
                    format!(
                        "{} stream={} -> {} stream={}",
                        method.input_type(),
                        method.client_streaming(),
                        method.output_type(),
                        method.server_streaming()
                    ),
                );
            }
        }
    }
    elements
}

fn add_message(elements: &mut Elements, parent: &str, message: &DescriptorProto) {
    let name = format!("{parent}.{}", message.name());
    elements.insert(format!("message {name}"), String::new());
    for field in &message.field {
        let oneof = field
            .oneof_index
            .and_then(|index| message.oneof_decl.get(usize::try_from(index).unwrap()));
        elements.insert(
            format!("field {name} = {}", field.number()),
            format!(
                "{} {:?} {:?} {} optional={} oneof={}",
                field.name(),
                field.label(),
                field.r#type(),
                field.type_name(),
                field.proto3_optional(),
                oneof.map_or("", |oneof| oneof.name()),
            ),
        );
    }
    for nested in &message.nested_type {
        add_message(elements, &name, nested);
    }
    for definition in &message.enum_type {
        add_enum(elements, &name, definition);
    }
}

fn add_enum(elements: &mut Elements, parent: &str, definition: &EnumDescriptorProto) {
    let name = format!("{parent}.{}", definition.name());
    for value in &definition.value {
        elements.insert(
            format!("enum {name} = {}", value.number()),
            value.name().to_owned(),
        );
    }
}

/// What of `old` is missing or different in `new`.
fn breaks(old: &Elements, new: &Elements) -> Vec<String> {
    old.iter()
        .filter(|(key, meaning)| new.get(*key) != Some(meaning))
        .map(|(key, meaning)| match new.get(key) {
            Some(now) => format!("{key}: was `{meaning}`, is `{now}`"),
            None => format!("{key}: `{meaning}` is gone"),
        })
        .collect()
}

#[test]
fn nothing_stored_is_changed_or_gone() {
    let broken = breaks(
        &elements(STORED),
        &elements(imgd_proto::FILE_DESCRIPTOR_SET),
    );
    assert!(
        broken.is_empty(),
        "clients of yesterday break:\n{}",
        broken.join("\n")
    );
}

#[test]
fn the_stored_descriptor_is_of_today() {
    let new = breaks(
        &elements(imgd_proto::FILE_DESCRIPTOR_SET),
        &elements(STORED),
    );
    if !new.is_empty() {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("imgd.v1.bin");
        std::fs::write(&fresh, imgd_proto::FILE_DESCRIPTOR_SET).unwrap();
        panic!(
            "not stored yet:\n{}\nif only additions are listed: cp {} proto/compat/",
            new.join("\n"),
            fresh.display()
        );
    }
}

#[test]
fn a_change_of_number_type_or_name_is_noticed() {
    let now = elements(imgd_proto::FILE_DESCRIPTOR_SET);
    let field = "field imgd.v1.GenerateRequest = 1".to_owned();
    for other in [
        None,
        Some("prompt Optional Bytes  optional=false oneof="),
        Some("prompts"),
    ] {
        let mut old = now.clone();
        match other {
            Some(other) => old.insert(field.clone(), other.to_owned()),
            None => old.insert(
                "field imgd.v1.GenerateRequest = 99".to_owned(),
                "gone".to_owned(),
            ),
        };
        assert_eq!(breaks(&old, &now).len(), 1);
    }
    assert!(breaks(&now, &now).is_empty());
}
