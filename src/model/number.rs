//! Numbers in JSON.

use serde_json::Number;

/// `1.0` is as whole as `1`: JSON tells no two kinds of numbers apart (RFC 8259, 6). Up to where every whole number has a double.
pub fn whole(number: &Number) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(n), ..) => Some(n.into()),
        (_, Some(n), _) => Some(n.into()),
        (.., Some(n)) if n.fract() == 0.0 && n.abs() < EXACT => Some(n as i128),
        _ => None,
    }
}
