//! Values of an entry as arguments, for `add` and `update`.

use ctnl::host::Host;
use ctnl::model::{HelperName, Labels, STATUS_BITS, Status, TcpState};
use ctnl::table::{Masked, Patch};

use super::args::seconds;
use crate::host::files;

/// The longest timeout that every kernel stores: `INT_MAX` jiffies at 1000 Hz. A longer one would be lowered
/// without an error.
const LONGEST_TIMEOUT: u64 = 2_147_483;

/// A timeout, from a second on.
pub fn timeout(text: &str) -> Result<u32, String> {
    seconds(text, LONGEST_TIMEOUT).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// `VALUE` or `VALUE/MASK`, each decimal or with `0x`.
pub fn masked(text: &str) -> Result<Masked, String> {
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    let value = number(value)?;
    let mask = mask.map_or(Ok(u32::MAX), number)?;
    if value & !mask != 0 {
        return Err(format!("{:#x} has bits outside of the mask {mask:#x}, which would not be set", value));
    }
    Ok(Masked { value, mask })
}

/// A number, decimal or with `0x`.
pub fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => ctnl::units::parse_decimal(text).ok().and_then(|number| u32::try_from(number).ok()),
    };
    parsed.ok_or_else(|| format!("'{text}' is not a number of 32 bits: expected e.g. 5 or 0x5"))
}

/// Status bits that can be set, by their names with commas.
pub fn status(text: &str) -> Result<Status, String> {
    text.split(',').map(|word| status_bit(word.trim())).try_fold(Status::empty(), |all, bit| Ok(all | bit?))
}

fn status_bit(word: &str) -> Result<Status, String> {
    let name = word.to_ascii_lowercase().replace('_', "-");
    let settable = STATUS_BITS.iter().filter(|row| Patch::ADDABLE.contains(row.bit));
    let names: Vec<&str> = settable.map(|row| row.name).collect();
    match STATUS_BITS.iter().find(|row| row.name == name) {
        Some(row) if Patch::ADDABLE.contains(row.bit) => Ok(row.bit),
        Some(_) => Err(format!("the kernel lets nobody set the status bit '{name}': expected {}", names.join(", "))),
        None => Err(format!("unknown status bit '{word}': expected {}", names.join(", "))),
    }
}

/// The name of a TCP state.
pub fn tcp_state(text: &str) -> Result<TcpState, String> {
    let name = text.replace('-', "_");
    let found = TcpState::all().find(|state| state.name().is_some_and(|known| known.eq_ignore_ascii_case(&name)));
    found.ok_or_else(|| {
        let names: Vec<String> = TcpState::all().filter_map(TcpState::name).map(str::to_ascii_lowercase).collect();
        format!("unknown TCP state '{text}': expected {}", names.join(", "))
    })
}

/// A helper's name, which the kernel keeps in 15 bytes (`NF_CT_HELPER_NAME_LEN`).
pub fn helper(text: &str) -> Result<HelperName, String> {
    if text.is_empty() || text.len() > 15 || text.contains('\0') {
        return Err(format!("'{text}' is no name of a helper: expected 1 to 15 bytes, e.g. ftp"));
    }
    Ok(HelperName::new(text.as_bytes()))
}

/// Labels by number, or by their names in connlabel.conf, with commas.
pub fn labels(text: &str, host: &Host) -> Result<Labels, String> {
    let names = files::labels(host);
    let number = |word: &str| {
        let by_number = ctnl::units::parse_decimal(word).ok().and_then(|number| u8::try_from(number).ok());
        by_number.filter(|number| *number < 128).or_else(|| names.number(word)).ok_or_else(|| {
            format!("unknown label '{word}': expected a number from 0 to 127, or a name of connlabel.conf")
        })
    };
    text.split(',').map(|word| number(word.trim())).collect::<Result<Vec<u8>, _>>().map(Labels::from_numbers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_no_bits_outside_of_its_mask() {
        assert_eq!(masked("5").unwrap(), Masked { value: 5, mask: u32::MAX });
        assert_eq!(masked("0x10/0xff").unwrap(), Masked { value: 16, mask: 255 });
        for bad in ["0x100/0xff", "", "x", "5/", "/5", "-1", "4294967296", "0x", "0x+5"] {
            assert!(masked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_status_bits_that_can_be_set_are_accepted() {
        assert_eq!(status("ASSURED,seen_reply").unwrap(), Status::Assured | Status::SeenReply);
        assert!(status("src-nat").unwrap_err().contains("lets nobody set"));
        assert!(status("fnord").unwrap_err().starts_with("unknown status bit 'fnord': expected seen-reply, assured"));
    }

    #[test]
    fn a_tcp_state_is_named_in_either_case() {
        assert_eq!(tcp_state("time_wait"), Ok(TcpState::TimeWait));
        assert_eq!(tcp_state("SYN-SENT"), Ok(TcpState::SynSent));
        assert!(tcp_state("unknown").is_err());
    }

    #[test]
    fn a_timeout_that_a_kernel_would_shorten_is_refused() {
        assert_eq!(timeout("5d"), Ok(432_000));
        assert!(timeout("0").is_err() && timeout("25d").is_err());
    }
}
