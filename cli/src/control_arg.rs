//! A ControlNet as an argument: `NET=IMAGE`, and behind it what is not as usual, as in `canny=photo.png,canny,weight=0.8`.

use imgd_client::{Control, ControlPreprocess};
use imgd_proto::limits;

use crate::{numbers, picture_args::model_name, picture_file};

/// Reads one. Settings stand at the end, so that a file's name may have commas in it.
pub(crate) fn control(argument: &str) -> Result<Control, String> {
    let (net, mut rest) = argument
        .split_once('=')
        .filter(|(net, image)| !net.is_empty() && !image.is_empty())
        .ok_or("it is NET=IMAGE: a ControlNet, and the picture that steers")?;
    let mut control = Control {
        control_model: model_name(net),
        ..Control::default()
    };
    while let Some((before, setting)) = rest.rsplit_once(',') {
        if !set(&mut control, setting.trim())? {
            break;
        }
        rest = before;
    }
    control.control_image = picture_file::file(&limits::CONTROL_IMAGE)(rest)
        .map_err(|why| format!("`{rest}`: {why}"))?
        .bytes
        .into();
    Ok(control)
}

/// Takes a setting in; false when it is none.
fn set(control: &mut Control, setting: &str) -> Result<bool, String> {
    let (name, value) = match setting.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (setting, None),
    };
    let place = match (name, value) {
        ("canny", thresholds) => {
            control.set_preprocess(ControlPreprocess::Canny);
            if let Some(thresholds) = thresholds {
                let (low, high) = thresholds
                    .split_once(':')
                    .ok_or("`canny` takes two thresholds, as in `canny=50:150`")?;
                let whole = |limit, text: &str| numbers::whole(limit)(text);
                control.canny_low = Some(whole(&limits::CANNY_LOW, low)?);
                control.canny_high = Some(whole(&limits::CANNY_HIGH, high)?);
            }
            return Ok(true);
        }
        ("weight", Some(_)) => (&mut control.control_weight, &limits::CONTROL_WEIGHT),
        ("start", Some(_)) => (&mut control.control_start, &limits::CONTROL_START),
        ("end", Some(_)) => (&mut control.control_end, &limits::CONTROL_END),
        _ => return Ok(false),
    };
    let (field, limit) = place;
    let number = numbers::number(limit)(value.unwrap_or_default());
    *field = Some(number.map_err(|why| format!("`{name}` {why}"))?);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n";

    #[test]
    fn settings_stand_behind_the_picture_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, PNG).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let plain = control(&format!("pose={}", path("a.png"))).unwrap();
        assert_eq!(plain.control_model, "pose");
        assert_eq!(plain.control_image, PNG);
        assert_eq!(plain.preprocess(), ControlPreprocess::Unspecified);
        assert_eq!(plain.control_weight, None);
        let all = control(&format!(
            "sd15/edges={},weight=-0.5,canny=50:150,end=0.75,start=0.25",
            path("b, c=d.png")
        ))
        .unwrap();
        assert_eq!(all.control_model, "sd15/edges");
        assert_eq!(all.preprocess(), ControlPreprocess::Canny);
        assert_eq!((all.canny_low, all.canny_high), (Some(50), Some(150)));
        assert_eq!(all.control_weight, Some(-0.5));
        assert_eq!(
            (all.control_start, all.control_end),
            (Some(0.25), Some(0.75))
        );
        let canny = control(&format!("edges={},canny", path("a.png"))).unwrap();
        assert_eq!((canny.canny_low, canny.canny_high), (None, None));
        assert_eq!(canny.preprocess(), ControlPreprocess::Canny);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (argument, part) in [
            ("pose", "NET=IMAGE"),
            ("=a.png", "NET=IMAGE"),
            ("pose=", "NET=IMAGE"),
            ("pose=nowhere.png", "`nowhere.png`: cannot read"),
            ("pose=nowhere.png,weight=11", "`weight` must be"),
            ("pose=nowhere.png,end=2", "`end` must be"),
            ("pose=nowhere.png,canny=5", "two thresholds"),
            ("pose=nowhere.png,canny=5:3000", "2,040"),
        ] {
            let why = control(argument).unwrap_err();
            assert!(why.contains(part), "{argument}: {why}");
        }
    }
}
