//! Sizes as progress displays write them: decimal units and exactly two decimals, plain bytes without any.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Writes `bytes` as `70B`, `300.08kB`, `1.50GB`. Negative values are kept, as a broken sender reports them.
pub fn decimal(bytes: i64) -> String {
    if bytes.unsigned_abs() < 1000 {
        return format!("{bytes}B");
    }
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let mut value = bytes as f64;
    let mut unit = UNITS[0];
    for next in UNITS.iter().skip(1) {
        if value.abs() < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.2}{unit}")
}

/// Writes how far something is: `1.00MB / 2.00MB`, only `1.00MB` without a total, nothing before it has begun.
pub fn of_total(current: i64, total: i64) -> String {
    match (current, total) {
        (0, 0) => String::new(),
        (current, 0) => decimal(current),
        (current, total) => format!("{} / {}", decimal(current), decimal(total)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_decimals_above_bytes() {
        let cases = [
            (0, "0B"),
            (70, "70B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (300_080, "300.08kB"),
            (1_500_000_000, "1.50GB"),
            (-5, "-5B"),
            (i64::MAX, "9.22EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(decimal(bytes), text);
        }
    }

    #[test]
    fn unknown_totals_are_left_out() {
        assert_eq!(of_total(0, 0), "");
        assert_eq!(of_total(282, 0), "282B");
        assert_eq!(of_total(0, 2000), "0B / 2.00kB");
    }
}
