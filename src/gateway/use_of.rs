//! How much of a limit is used, in words.

/// Bytes, and of which limit they are what share.
pub(super) fn use_of(bytes: u64, limit: Option<u64>) -> String {
    let used = in_units(bytes);
    match limit {
        None => used,
        Some(0) => format!("{used} of none"),
        Some(limit) => {
            let percent = u128::from(bytes) * 100 / u128::from(limit);
            format!("{used} of {}, {percent} %", in_units(limit))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn in_units(bytes: u64) -> String {
    let units = [
        (1_u64 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    match units.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / *size as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_a_number_its_limit_and_the_share() {
        assert_eq!(use_of(1_536, Some(3 << 10)), "1.5 KiB of 3.0 KiB, 50 %");
        assert_eq!(use_of(0, None), "0 B");
        assert_eq!(use_of(5, Some(0)), "5 B of none");
        assert_eq!(
            use_of(u64::MAX, Some(1 << 30)),
            "16777216.0 TiB of 1.0 GiB, 1717986918399 %"
        );
    }
}
