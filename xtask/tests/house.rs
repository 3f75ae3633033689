//! The rules of the house hold.

#[test]
fn the_rules_of_the_house_hold() {
    let mut broken = Vec::new();
    for (name, rule) in xtask::RULES {
        let sentences = rule(&xtask::root()).unwrap();
        broken.extend(
            sentences
                .into_iter()
                .map(|sentence| format!("{name}: {sentence}")),
        );
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
