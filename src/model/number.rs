//! Numbers in JSON.

use serde_json::Number;

/// As people write it: `5` and not `5.0`.
pub fn shortest(number: f64) -> Option<Number> {
    let exact = Number::from_f64(number)?;
    let short = whole(&exact).and_then(|whole| i64::try_from(whole).ok()).map(Number::from);
    Some(short.unwrap_or(exact))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_people_do_and_reads_as_the_same() {
        let cases = [
            (5.0, "5"),
            (0.0, "0"),
            (-3.0, "-3"),
            (0.2, "0.2"),
            (1e300, "1e+300"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
        ];
        for (number, expected) in cases {
            let written = shortest(number).unwrap().to_string();
            assert_eq!((written.as_str(), written.parse()), (expected, Ok(number)));
        }
        assert_eq!(shortest(f64::NAN), None);
    }
}
