//! Shares as Route 53 takes them: whole numbers from 0 to 255, relative to their sum.

/// The largest.
const LARGEST: u64 = 255;

/// For each share the weight of each of its parts: Route 53 takes one value for a weight, so a share
/// of several values is given to them in equal parts. Exact wherever whole numbers up to 255 are;
/// else to the nearest, and never nothing for what shall get something.
pub(super) fn weights(shares: &[(u32, usize)]) -> Vec<i64> {
    let parts = shares.iter().map(|(_, parts)| *parts as u64);
    let common = parts.fold(1, |so_far, parts| lcm(so_far, parts.max(1)));
    let exact: Vec<u64> = shares
        .iter()
        .map(|(share, parts)| u64::from(*share) * (common / (*parts as u64).max(1)))
        .collect();
    let divisor = exact.iter().fold(0, |so_far, weight| gcd(so_far, *weight));
    let least = exact.iter().map(|weight| weight / divisor.max(1));
    let least: Vec<u64> = least.collect();
    let most = least.iter().copied().max().unwrap_or_default();
    let fitted = least.into_iter().map(|weight| match weight {
        0 => 0,
        weight if most <= LARGEST => weight,
        weight => ((weight * LARGEST + most / 2) / most).max(1),
    });
    fitted.map(|weight| weight as i64).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u64, b: u64) -> u64 {
    a / gcd(a, b) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_the_least_whole_numbers_that_say_the_same() {
        for (shares, wanted) in [
            (&[(100, 1)][..], &[1][..]),
            (&[(90, 1), (10, 1)], &[9, 1]),
            (&[(95, 1), (5, 1)], &[19, 1]),
            (&[(100, 1), (0, 1)], &[1, 0]),
            (&[(50, 2), (50, 1)], &[1, 2]),
            (&[(100, 3)], &[1]),
            (&[(255, 1), (1, 1)], &[255, 1]),
        ] {
            assert_eq!(weights(shares), wanted, "{shares:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_to_the_nearest_and_never_nothing() {
        assert_eq!(weights(&[(997, 1), (3, 1)]), [255, 1]);
        assert_eq!(weights(&[(9_999, 1), (1, 1)]), [255, 1]);
        assert_eq!(weights(&[(2, 3), (400, 1)]), [1, 255]);
    }
}
