//! Randomness from the system's generator.

use crate::host;

/// Most bytes that the host gives in one call.
const CHUNK: usize = 4096;

/// That many random bytes.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let part = host::random::bytes((count - all.len()).min(CHUNK) as u32);
        if part.is_empty() {
            break;
        }
        all.extend(part);
    }
    all
}

/// An evenly distributed number in `[0, 1)`.
pub fn fraction() -> f64 {
    let drawn = bytes(8).try_into().unwrap_or_default();
    // 53 bits are what a double holds exactly.
    (u64::from_le_bytes(drawn) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A random word of lower-case letters and digits, for names of objects.
pub fn word(length: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let letter = |byte: u8| LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'a');
    bytes(length).into_iter().map(letter).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn more_than_one_call_gives_comes_in_parts() {
        let _host = Host::new();
        assert_eq!(bytes(CHUNK + 1).len(), CHUNK + 1);
        assert!(
            (0..100)
                .map(|_| fraction())
                .all(|drawn| (0.0..1.0).contains(&drawn))
        );
        let word = word(12);
        assert!(word.len() == 12 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
    }
}
