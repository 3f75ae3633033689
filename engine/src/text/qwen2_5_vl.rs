//! `config.json` of Qwen2.5-VL, of which a prompt sees the language model alone.
//!
//! Its positions have three coordinates, which turn their own parts of a head. Those of a text are equal, so that it is turned as
//! by one. Source: transformers `Qwen2_5_VLConfig`, `Qwen2_5_VLTextModel`.

use serde_json::{Map, Value, json};

use super::qwen3::{Config, Projections};
use crate::{Error, Result};

/// Base of the positions' frequencies where the file names none.
const ROPE_THETA: f64 = 1_000_000.0;
/// Of the norms, likewise.
const RMS_NORM_EPS: f64 = 1e-5;

/// The language model's configuration. Newer files keep it in `text_config`, older ones among the rest.
///
/// Fails when a size is missing or of another type; [`super::qwen3::Qwen3Model::load`] checks the rest.
pub fn config(file: &Value) -> Result<Config> {
    let text = file.get("text_config").unwrap_or(file);
    let mut text: Map<String, Value> = text
        .as_object()
        .or_else(|| file.as_object())
        .cloned()
        .ok_or_else(|| Error::model("text encoder config: is no table"))?;
    let positions = ["rope_parameters", "rope_scaling"]
        .into_iter()
        .find_map(|key| text.get(key)?.as_object().cloned())
        .unwrap_or_default();
    let kind = positions.get("rope_type").or_else(|| positions.get("type"));
    let kind = match kind.and_then(Value::as_str) {
        None | Some("mrope") => "default",
        Some(kind) => kind,
    };
    let theta = positions
        .get("rope_theta")
        .or_else(|| text.get("rope_theta"))
        .and_then(Value::as_f64)
        .unwrap_or(ROPE_THETA);
    text.remove("rope_theta");
    text.insert(
        "rope_parameters".to_owned(),
        json!({"rope_theta": theta, "rope_type": kind}),
    );
    text.entry("rms_norm_eps").or_insert(json!(RMS_NORM_EPS));
    for size in [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    ] {
        if !text.get(size).is_some_and(Value::is_u64) {
            return Err(Error::model(format!(
                "text encoder config: `{size}` is missing or no whole number"
            )));
        }
    }
    let mut config: Config = serde_json::from_value(Value::Object(text)).map_err(|error| {
        Error::model(format!("text encoder config: {error}")).with_source(error)
    })?;
    config.head_dim = Some(config.hidden_size / config.num_attention_heads.max(1));
    config.projections = Projections::Biased;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> Value {
        json!({
            "vocab_size": 100,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-6,
            "rope_theta": 5000.0,
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "mrope"},
        })
    }

    #[test]
    fn old_and_new_files_say_the_same() {
        let old = config(&sizes()).unwrap();
        let mut text = sizes();
        text["rope_scaling"] = Value::Null;
        text["rope_theta"] = Value::Null;
        text["rope_parameters"] =
            json!({"mrope_section": [1, 1, 2], "rope_theta": 5000.0, "rope_type": "mrope"});
        let new = config(&json!({"text_config": text, "hidden_size": 1})).unwrap();
        for config in [&old, &new] {
            assert_eq!((config.hidden_size, config.head_dim()), (64, 16));
            assert_eq!(config.projections, Projections::Biased);
        }
        assert_eq!(format!("{old:?}"), format!("{new:?}"));
        assert!(format!("{old:?}").contains("5000"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for size in ["hidden_size", "num_key_value_heads"] {
            let mut file = sizes();
            file[size] = Value::Null;
            let error = config(&file).unwrap_err().to_string();
            assert!(error.contains(size), "{error}");
        }
        assert!(config(&json!([1])).is_err());
    }
}
