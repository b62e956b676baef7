//! Bytes as text: two lower-case hexadecimal digits each.

use std::fmt::Write as _;

pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A text takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_byte_keeps_its_leading_zero() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
