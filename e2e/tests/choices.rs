//! Prompts with choices, lines of files and styles: each picture has its own, and says which.

use std::collections::BTreeSet;

use imgd_e2e::{Daemon, Home};

const COMMON: [&str; 5] = ["--seed", "3", "--size", "64x64", "--steps=2"];

#[test]
fn every_picture_chooses_by_its_seed_and_is_made_again() {
    let home = Home::with_config(
        "[styles]\noil = { prompt = \"{prompt}, {oil|ink}\", negative = \"photo\" }\n",
    );
    let folder = home.data().join("wildcards");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(
        folder.join("animal.txt"),
        "# animals\nfox\nowl\n{old|young} seal\n",
    )
    .expect("a file");
    let mut daemon = Daemon::start_in(home, |_| {});
    let draw = |daemon: &Daemon, more: &[&str]| {
        let run = daemon.run(
            ["generate", "--json"]
                .into_iter()
                .chain(more.iter().copied())
                .chain(COMMON),
        );
        let images = run
            .ok()
            .json()
            .into_iter()
            .filter(|object| object["event"] == "image");
        images
            .map(|image| image["parameters"].as_str().expect("a text").to_owned())
            .collect::<Vec<_>>()
    };
    let prompt = |text: &String| text.lines().next().expect("a line").to_owned();
    let many = draw(
        &daemon,
        &["a {red|green} __animal__", "-n", "12", "-o", "{index}.png"],
    );
    let prompts: BTreeSet<_> = many.iter().map(prompt).collect();
    assert!(prompts.len() > 3, "{prompts:?}");
    for prompt in &prompts {
        assert!(
            prompt.starts_with("a red ") || prompt.starts_with("a green "),
            "{prompt}"
        );
        assert!(
            ["fox", "owl", "old seal", "young seal"]
                .iter()
                .any(|animal| prompt.ends_with(animal)),
            "{prompt}"
        );
    }
    assert_eq!(
        draw(
            &daemon,
            &[
                "a {red|green} __animal__",
                "-n",
                "12",
                "-o",
                "again-{index}.png"
            ]
        ),
        many
    );

    // Files that change later change no picture.
    std::fs::write(folder.join("animal.txt"), "whale\n").expect("a file");
    daemon.kill();
    daemon.start_again();
    let replayed = daemon.run(["replay", "4.png"]).ok();
    assert!(replayed.stdout.contains("identical"), "{}", replayed.stdout);

    let styled = draw(&daemon, &["a fox", "--style", "oil", "-o", "styled.png"]).remove(0);
    assert!(
        styled.starts_with("a fox, oil\nNegative prompt: photo")
            || styled.starts_with("a fox, ink\nNegative prompt: photo"),
        "{styled}"
    );
    let kept = draw(&daemon, &["a {masterpiece} fox", "-o", "kept.png"]).remove(0);
    assert!(kept.starts_with("a {masterpiece} fox\n"), "{kept}");
    let plain = draw(
        &daemon,
        &["a {b|c}", "--prompt-syntax", "plain", "-o", "plain.png"],
    )
    .remove(0);
    assert!(plain.starts_with("a {b|c}\n"), "{plain}");
    for (more, why) in [
        (
            ["generate", "a __plant__", "--style", "oil"],
            "no file `plant.txt`",
        ),
        (
            ["generate", "a fox", "--style", "oli"],
            "did you mean `oil`",
        ),
    ] {
        let refused = daemon.run(more);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    let batch = daemon.work().join("lines.txt");
    std::fs::write(
        batch,
        "an {old|young} owl --style oil --steps 2 --size 64x64\n",
    )
    .expect("a file");
    daemon.run(["batch", "lines.txt", "-o", "."]).ok();
}
