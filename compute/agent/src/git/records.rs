//! Output of git with `-z`: records that end with a zero byte.

use memchr::memchr;

/// Cuts pieces of output into records.
#[derive(Debug, Default)]
pub struct Records {
    rest: Vec<u8>,
}

impl Records {
    /// Hands each record that is complete now to `take`, without its end.
    pub fn push(&mut self, piece: &[u8], mut take: impl FnMut(&[u8])) {
        let mut piece = piece;
        while let Some(end) = memchr(0, piece) {
            if self.rest.is_empty() {
                take(&piece[..end]);
            } else {
                self.rest.extend_from_slice(&piece[..end]);
                take(&self.rest);
                self.rest.clear();
            }
            piece = &piece[end + 1..];
        }
        self.rest.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_any_pieces() {
        let output = b"one\0\0three\nlines\0cut off";
        for size in 1..=output.len() {
            let (mut records, mut taken) = (Records::default(), Vec::new());
            for piece in output.chunks(size) {
                records.push(piece, |record| taken.push(record.to_vec()));
            }
            assert_eq!(taken, [&b"one"[..], b"", b"three\nlines"], "{size}");
        }
    }
}
