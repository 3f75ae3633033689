//! Variations of a picture: one seed, part of another's noise, and none that writes over another.

use imgd_e2e::Daemon;

#[test]
fn variations_are_alike_have_names_and_are_made_again() {
    let daemon = Daemon::start();
    let draw = |more: &[&str]| {
        let common = [
            "generate",
            "a red apple",
            "--seed",
            "3",
            "--size",
            "64x64",
            "--steps",
            "4",
            "--json",
        ];
        let run = daemon
            .run(common.into_iter().chain(more.iter().copied()))
            .ok();
        let images = run
            .json()
            .into_iter()
            .filter(|object| object["event"] == "image");
        images
            .map(|image| {
                let path = image["path"].as_str().expect("a path").to_owned();
                let picture = image::open(daemon.work().join(&path)).expect("a picture");
                (
                    path,
                    picture.into_rgb8().into_raw(),
                    image["settings"].clone(),
                )
            })
            .collect::<Vec<_>>()
    };
    let plain = draw(&[]).remove(0);
    let varied = draw(&[
        "--variation-strength",
        "0.1",
        "--variation-seed",
        "40",
        "-n",
        "2",
    ]);
    assert_eq!(varied.len(), 2);
    for (at, (path, pixels, settings)) in varied.iter().enumerate() {
        let variation_seed = 40 + at;
        assert_eq!(path, &format!("a-red-apple-3-{variation_seed}.png"));
        assert_eq!(settings["seed"], 3);
        assert_eq!(settings["variation_seed"], variation_seed);
        assert_eq!(settings["variation_strength"], 0.1);
        assert!(*pixels != plain.1);
    }
    assert!(varied[0].1 != varied[1].1);
    // The other seed's picture is further away than a variation of a tenth.
    let other = draw(&["--variation-strength", "1", "--variation-seed", "40"]).remove(0);
    let distance = |pixels: &[u8]| -> u64 {
        let pairs = pixels.iter().zip(&plain.1);
        pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
    };
    assert!(distance(&varied[0].1) < distance(&other.1));

    let replayed = daemon.run(["replay", "a-red-apple-3-41.png"]).ok();
    assert!(replayed.stdout.contains("identical"), "{}", replayed.stdout);
    let refused = daemon.run(["generate", "a red apple", "--variation-seed", "1"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("variation_strength is not"),
        "{}",
        refused.stderr
    );
}
