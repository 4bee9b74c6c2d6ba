//! Bytes that arrive in pieces, as text: a character that is cut between two pieces waits for its rest.

#[derive(Debug, Default)]
pub struct Decoder {
    cut: Vec<u8>,
}

impl Decoder {
    /// Bytes that are no UTF-8 become replacement characters.
    pub fn decode(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.cut);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        for chunk in all.utf8_chunks() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            let last = invalid.as_ptr_range().end == all.as_ptr_range().end;
            if !invalid.is_empty() && last && may_go_on(invalid) {
                self.cut = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// What was cut and has no rest.
    pub fn finish(&mut self) -> &'static str {
        let cut = std::mem::take(&mut self.cut);
        if cut.is_empty() { "" } else { "\u{fffd}" }
    }
}

/// Whether more bytes could make a character of these.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "aü漢🎉z";
        for size in 1..=text.len() {
            let mut decoder = Decoder::default();
            let decoded: String = text.as_bytes().chunks(size).map(|piece| decoder.decode(piece)).collect();
            assert_eq!((decoded.as_str(), decoder.finish()), (text, ""), "pieces of {size}");
        }
    }

    #[test]
    fn other_bytes_are_replaced() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"a\xffb\xe6"), "a\u{fffd}b");
        assert_eq!(decoder.decode(b"c"), "\u{fffd}c");
        assert_eq!((decoder.decode(b"\xf0\x9f"), decoder.finish()), (String::new(), "\u{fffd}"));
    }
}
