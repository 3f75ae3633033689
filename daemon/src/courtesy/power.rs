//! What the machine runs on.

#[cfg(target_os = "linux")]
use std::{fs, path::Path};

/// What the machine runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// The mains, as a machine without a battery does.
    Mains,
    /// Its battery, or that of an uninterruptible supply.
    Battery,
}

/// Where the kernel lists what feeds the machine: one folder each, with the files `type`, `online`, `status`, `scope`.
#[cfg(target_os = "linux")]
pub(super) const SUPPLIES: &str = "/sys/class/power_supply";

/// Reads what the machine runs on.
///
/// On the mains where any line is connected; else on the battery where one is being emptied. Batteries of a mouse or a
/// headset (`scope` "Device") feed the device alone. What cannot be read is not there. The kernel's files are described
/// in its `Documentation/ABI/testing/sysfs-class-power`.
#[cfg(target_os = "linux")]
pub(super) fn read(supplies: &Path) -> Power {
    let mut is_emptied = false;
    for supply in fs::read_dir(supplies).into_iter().flatten().flatten() {
        let field = |name: &str| {
            let text = fs::read_to_string(supply.path().join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        if field("scope") == "Device" {
            continue;
        }
        match field("type").as_str() {
            // 2: connected, and the machine may switch to it.
            "Mains" | "USB" | "Wireless" if ["1", "2"].contains(&field("online").as_str()) => {
                return Power::Mains;
            }
            "Battery" | "UPS" => is_emptied |= field("status") == "Discharging",
            _ => {}
        }
    }
    if is_emptied {
        Power::Battery
    } else {
        Power::Mains
    }
}

/// Reads what the machine runs on: the system counts the time that is left on anything but the mains.
#[cfg(target_os = "macos")]
pub(super) fn read() -> Power {
    // `kIOPSTimeRemainingUnlimited` of IOKit's IOPowerSources.h.
    const UNLIMITED: f64 = -2.0;
    if (objc2_io_kit::IOPSGetTimeRemainingEstimate() - UNLIMITED).abs() < 0.5 {
        Power::Mains
    } else {
        Power::Battery
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::{Power, read};

    /// A supply: its name, then its files with their text.
    type Supply<'a> = (&'a str, &'a [(&'a str, &'a str)]);

    const LAPTOP_BATTERY: Supply<'static> = (
        "BAT0",
        &[("type", "Battery\n"), ("status", "Discharging\n")],
    );

    fn power(supplies: &[Supply<'_>]) -> Power {
        let folder = tempfile::tempdir().unwrap();
        for (name, files) in supplies {
            let supply = folder.path().join(name);
            std::fs::create_dir(&supply).unwrap();
            for (file, text) in *files {
                std::fs::write(supply.join(file), text).unwrap();
            }
        }
        read(folder.path())
    }

    #[test]
    fn a_machine_that_lists_nothing_runs_on_the_mains() {
        assert_eq!(power(&[]), Power::Mains);
        assert_eq!(
            read(std::path::Path::new("/nonexistent/supplies")),
            Power::Mains
        );
    }

    #[test]
    fn a_laptop_runs_on_its_battery_until_a_line_is_connected() {
        let line = |online| ("AC", [("type", "Mains\n"), ("online", online)]);
        let (name, files) = line("0\n");
        assert_eq!(power(&[LAPTOP_BATTERY, (name, &files)]), Power::Battery);
        assert_eq!(power(&[LAPTOP_BATTERY]), Power::Battery);
        for (name, files) in [line("1\n"), line("2\n")] {
            // A weak charger may not keep up with the machine: it is connected all the same.
            assert_eq!(power(&[LAPTOP_BATTERY, (name, &files)]), Power::Mains);
        }
        let usb: Supply<'_> = ("ucsi0", &[("type", "USB\n"), ("online", "1\n")]);
        assert_eq!(power(&[LAPTOP_BATTERY, usb]), Power::Mains);
    }

    #[test]
    fn a_battery_that_is_not_emptied_does_not_count() {
        for status in ["Charging\n", "Full\n", "Not charging\n", "Unknown\n"] {
            let files = [("type", "Battery\n"), ("status", status)];
            assert_eq!(power(&[("BAT0", &files)]), Power::Mains, "{status}");
        }
    }

    #[test]
    fn the_battery_of_a_mouse_is_the_mouses_own() {
        let mouse: Supply<'_> = (
            "hidpp_battery_0",
            &[
                ("type", "Battery\n"),
                ("status", "Discharging\n"),
                ("scope", "Device\n"),
            ],
        );
        assert_eq!(power(&[mouse]), Power::Mains);
        assert_eq!(power(&[mouse, LAPTOP_BATTERY]), Power::Battery);
    }

    #[test]
    fn an_uninterruptible_supply_that_is_emptied_is_a_battery() {
        let ups: Supply<'_> = ("ups", &[("type", "UPS\n"), ("status", "Discharging\n")]);
        assert_eq!(power(&[ups]), Power::Battery);
    }
}
