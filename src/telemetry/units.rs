//! Clock ticks, pages and rounding.

/// The largest integer that every JSON reader represents exactly (2^53 - 1).
const MAX_EXACT: u64 = (1 << 53) - 1;

/// Limits `n` to less than 2^53. Some file systems report larger sizes.
pub(super) fn clamp_exact(n: u64) -> u64 {
    n.min(MAX_EXACT)
}

/// Rounds `x` to two decimals. NaN, infinities and negative values become zero.
pub(super) fn round2(x: f64) -> f64 {
    let rounded = (x * 100.0).round() / 100.0;
    if rounded.is_finite() && rounded > 0.0 {
        rounded
    } else {
        0.0
    }
}

/// Returns the clock ticks per second, the unit of times in `proc_pid_stat(5)`. This is nearly
/// always 100.
pub(super) fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

/// Returns the page size in bytes, the unit of memory in `proc_pid_stat(5)`.
pub(super) fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Converts clock ticks to milliseconds.
pub(super) fn ticks_to_ms(ticks: u64) -> u64 {
    ticks.saturating_mul(1000) / ticks_per_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_values_are_finite() {
        assert_eq!(round2(12.345_678).to_string(), "12.35");
        for odd in [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            -3.0,
            f64::MAX,
        ] {
            let r = round2(odd);
            assert!(r.is_finite() && r.is_sign_positive(), "{odd} gave {r}");
        }
    }

    #[test]
    fn integers_are_clamped_below_2_pow_53() {
        assert_eq!(clamp_exact(u64::MAX), 9_007_199_254_740_991);
        assert_eq!(clamp_exact(7), 7);
        assert!(ticks_to_ms(u64::MAX) > 0);
    }
}
