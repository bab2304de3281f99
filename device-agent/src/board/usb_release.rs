//! The release number of a probe's USB device. It is evidence where the driver does not tell the
//! version of the firmware: that for CMSIS-DAP asks for neither of the two that the protocol has
//! (`DAP_Info` 0x04 and 0x09), and probe-rs has no way to ask through it.

use nusb::MaybeFuture as _;
use probe_rs::probe::DebugProbeSelector;

/// Reads the release number of the device on USB that `selector` names, and says so. It is in the
/// descriptor that the system has read already: the device is not opened. `None` where the system
/// does not list it, or its maker has left the number at zero.
pub fn usb_release(selector: &DebugProbeSelector) -> Option<String> {
    let mut all = nusb::list_devices().wait().ok()?;
    let device = all.find(|device| selector.matches(device))?;
    in_words(device.device_version())
}

/// A release number (`bcdDevice`) in words: two digits before the point and two behind it
/// (Universal Serial Bus Specification 2.0, table 9-8). Makers that count otherwise are shown with
/// their own hexadecimal digits.
fn in_words(release: u16) -> Option<String> {
    let [major, minor] = release.to_be_bytes();
    (release != 0).then(|| format!("USB release {major:x}.{minor:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_its_four_digits_and_zero_is_none() {
        for (release, expected) in [
            (0x0223, Some("USB release 2.23")),
            (0x0100, Some("USB release 1.00")),
            (0x1001, Some("USB release 10.01")),
            (0x000a, Some("USB release 0.0a")),
            (0, None),
        ] {
            assert_eq!(in_words(release).as_deref(), expected, "{release:#x}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_has_no_release() {
        // An identity that the USB Implementers Forum gives to no maker.
        let selector = "ffff:ffff:none".parse().unwrap();
        assert_eq!(usb_release(&selector), None);
    }
}
