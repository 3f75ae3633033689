//! The encoder against transformers.

use super::*;
use crate::golden::{Golden, values};

#[test]
fn equals_transformers_with_and_without_prefix_and_projection() {
    for (family, component, with_projection) in [
        ("sd", "text_encoder", false),
        ("xl", "text_encoder", false),
        ("xl", "text_encoder_2", true),
    ] {
        let golden = Golden::open(family, component);
        let clip =
            ClipTextModel::load(&golden.loader(), &golden.config(), with_projection).unwrap();
        let ids: Vec<u32> = golden
            .tensor("ids")
            .flatten_all()
            .unwrap()
            .to_vec1::<i64>()
            .unwrap()
            .into_iter()
            .map(|id| u32::try_from(id).unwrap())
            .collect();
        let output = clip.forward(&ids).unwrap();
        golden.assert_equals("last", &output.last_hidden_state);
        golden.assert_equals("pooled", &output.pooled);
        assert_eq!(output.hidden_states.len(), 3);
        for (i, hidden) in output.hidden_states.iter().enumerate() {
            golden.assert_equals(&format!("hidden.{i}"), hidden);
        }
        let normed = clip.final_layer_norm(&output.hidden_states[2]).unwrap();
        assert_eq!(values(&normed), values(&output.last_hidden_state));
    }
}

#[test]
fn the_end_of_a_prompt_does_not_change_its_beginning() {
    let golden = Golden::open("xl", "text_encoder");
    let clip = ClipTextModel::load(&golden.loader(), &golden.config(), false).unwrap();
    let first =
        |ids: &[u32]| values(&clip.forward(ids).unwrap().last_hidden_state)[..3 * 24].to_vec();
    assert_eq!(first(&[38, 5, 2, 17, 39]), first(&[38, 5, 2, 9, 9, 9, 39]));
}

#[test]
fn ids_that_do_not_fit_are_errors() {
    let golden = Golden::open("sd", "text_encoder");
    let clip = ClipTextModel::load(&golden.loader(), &golden.config(), false).unwrap();
    assert!(clip.forward(&[]).is_err());
    assert!(
        clip.forward(&[38, 40])
            .unwrap_err()
            .to_string()
            .contains("token 40")
    );
    assert!(clip.forward(&[1; 10]).is_err());
}
