// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Raw bytes inside JSON: readable where they are text, exact where they are not.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

/// A byte string, written as `{"text": "…"}` when it is UTF-8 and as `{"hex": "…"}` otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// A hexadecimal string of odd length or with a character that is no digit, or a misplaced piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidBytes;

impl std::fmt::Display for InvalidBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not an even number of hexadecimal digits in its place")
    }
}

impl std::error::Error for InvalidBytes {}

impl Bytes {
    /// The bytes as lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 0xf])
            .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
            .collect()
    }

    /// Reads back what [`Bytes::to_hex`] wrote; upper case is accepted too.
    pub fn from_hex(hex: &str) -> Result<Self, InvalidBytes> {
        let digit = |c: u8| {
            char::from(c)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return Err(InvalidBytes);
        }
        pairs
            .iter()
            .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?))
            .collect::<Option<Vec<u8>>>()
            .map(Self)
            .ok_or(InvalidBytes)
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match std::str::from_utf8(&self.0) {
            Ok(text) => map.serialize_entry("text", text)?,
            Err(_) => map.serialize_entry("hex", &self.to_hex())?,
        }
        map.end()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Text(String),
    Hex(String),
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self(text.into_bytes())),
            Form::Hex(hex) => Self::from_hex(&hex).map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(bytes: &[u8]) -> (String, Bytes) {
        let json = serde_json::to_string(&Bytes(bytes.to_vec())).unwrap();
        let back = serde_json::from_str(&json).unwrap();
        (json, back)
    }

    #[test]
    fn bytes_text_stays_readable() {
        let (json, back) = round_trip("a\n\u{1f600}\0".as_bytes());
        assert!(json.starts_with(r#"{"text":"a\n"#), "{json}");
        assert_eq!(back.0, "a\n\u{1f600}\0".as_bytes());
    }

    #[test]
    fn bytes_binary_survives_as_hex() {
        let (json, back) = round_trip(&[0x00, 0xff, 0x80]);
        assert_eq!(json, r#"{"hex":"00ff80"}"#);
        assert_eq!(back.0, [0x00, 0xff, 0x80]);
    }

    #[test]
    fn from_hex_bad_digits_is_refused() {
        assert_eq!(Bytes::from_hex("abc"), Err(InvalidBytes));
        assert_eq!(Bytes::from_hex("zz"), Err(InvalidBytes));
        assert_eq!(Bytes::from_hex("+1"), Err(InvalidBytes));
    }
}
