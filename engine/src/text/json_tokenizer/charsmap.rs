//! A table of replacements (sentencepiece's `precompiled_charsmap`), followed wherever a text could lead.
//!
//! Layout: the bytes of a trie as a 32-bit number, the trie, and the replacements, each ended by a zero byte; all of it little
//! endian and in base64. The trie is darts-clone's double array: a place has a unit of 32 bits, which says what byte leads there,
//! where the places of the next byte begin, and whether a replacement ends there. The library believes every place in it.

/// The longest replacement in bytes; Unicode's own has 33.
const MOST_BYTES: usize = 64;

/// Whether no text leads out of the table or grows much.
pub(super) fn is_sound(text: &str) -> bool {
    decoded(text).is_some_and(|bytes| walk(&bytes).is_some())
}

/// Follows every way through the trie; nothing when one leads out of it.
fn walk(bytes: &[u8]) -> Option<()> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (trie, replacements) = rest.split_at_checked(length)?;
    let (units, []) = trie.as_chunks::<4>() else {
        return None;
    };
    let replacements = std::str::from_utf8(replacements).ok()?;
    let unit = |place: usize| units.get(place).map(|unit| u32::from_le_bytes(*unit));
    let mut was_here = vec![false; units.len()];
    let mut open = vec![next(0, unit(0)?)];
    while let Some(begin) = open.pop() {
        for byte in 1..=u8::MAX {
            let place = begin ^ usize::from(byte);
            let found = unit(place)?;
            if label(found) != u32::from(byte) || std::mem::replace(&mut was_here[place], true) {
                continue;
            }
            let begin = next(place, found);
            if found >> 8 & 1 == 1 {
                let start = usize::try_from(unit(begin)? & !(1 << 31)).ok()?;
                let mut replacement = replacements.get(start..)?.bytes();
                let is_short = replacement
                    .by_ref()
                    .take(MOST_BYTES + 1)
                    .any(|byte| byte == 0);
                (is_short || replacement.len() == 0).then_some(())?;
            }
            open.push(begin);
        }
    }
    Some(())
}

/// The byte that leads to a unit; above 255 where it is a value.
fn label(unit: u32) -> u32 {
    unit & (1 << 31 | 0xff)
}

/// Where the places of the next byte begin.
fn next(place: usize, unit: u32) -> usize {
    let offset = (unit >> 10) << ((unit & 1 << 9) >> 6);
    place ^ offset as usize
}

/// Bytes of a text in base64.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for place in 0..4 {
            bits = bits << 6
                | group
                    .get(place)
                    .map_or(Some(0), |character| sextet(*character))?;
        }
        let whole = bits.to_be_bytes();
        bytes.extend_from_slice(
            whole
                .get(1..group.len())
                .filter(|whole| !whole.is_empty())?,
        );
    }
    Some(bytes)
}

fn sextet(character: u8) -> Option<u32> {
    let value = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const VALUE: u32 = 1 << 31;

    /// A trie in which `a` leads to a unit and from there to a value, and what stands behind it.
    pub(in crate::text::json_tokenizer) fn table(
        value: u32,
        begin: u32,
        replacements: &str,
    ) -> String {
        let mut units = [0_u32; 512];
        units[0] = 256 << 10;
        let place = 256 ^ u32::from(b'a');
        units[place as usize] = (place ^ begin) << 10 | 1 << 8 | u32::from(b'a');
        if let Some(unit) = units.get_mut(begin as usize) {
            *unit = VALUE | value;
        }
        let mut bytes = (4 * 512_u32).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(replacements.bytes());
        encoded(&bytes)
    }

    fn encoded(bytes: &[u8]) -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let mut four = [0; 4];
            four[1..=group.len()].copy_from_slice(group);
            let bits = u32::from_be_bytes(four);
            for place in 0..4 {
                let digit = digits[(bits >> (18 - 6 * place) & 63) as usize];
                text.push(if place > group.len() {
                    '='
                } else {
                    digit.into()
                });
            }
        }
        text
    }

    #[test]
    fn base64_is_read_back() {
        for bytes in [&b""[..], b"\xff", b"ab", b"abc", b"\x00\xff\x10\x80"] {
            assert_eq!(decoded(&encoded(bytes)).as_deref(), Some(bytes));
        }
        assert_eq!(decoded("AQI*"), None);
        assert_eq!(decoded("AQIDB"), None);
    }

    #[test]
    fn no_way_leads_out_of_a_sound_table() {
        assert!(is_sound(&table(0, 300, "b\0")));
        assert!(is_sound(&table(2, 300, "b\0")));
        for (what, text) in [
            ("a value after the end", table(3, 300, "b\0")),
            ("a value inside of a character", table(1, 300, "\u{e9}\0")),
            ("places after the end", table(0, 512, "b\0")),
            ("a text that grows much", table(0, 300, &"b".repeat(66))),
            ("nothing", String::new()),
            ("six bytes that promise 8.6 GB", "/////wAA".to_owned()),
            ("an empty trie", "AAAAAA==".to_owned()),
            ("half a unit", "AgAAAAAA".to_owned()),
        ] {
            assert!(!is_sound(&text), "{what}");
        }
    }
}
