//! The `Range` header: one range of bytes (RFC 9110 §14).

/// Half open: `start..end`, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub end: u64,
}

/// The header asks for nothing that the file has.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsatisfiable;

/// The asked range of a file of `length` bytes. A header that is malformed, in another unit or for several ranges
/// counts as absent, as the RFC allows: the answer is then the whole file.
pub fn parse(header: Option<&str>, length: u64) -> Result<Option<Range>, Unsatisfiable> {
    let Some((first, last)) = header.and_then(|header| header.trim().strip_prefix("bytes=")?.split_once('-')) else {
        return Ok(None);
    };
    let (start, end) = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, length),
        (Err(_), Ok(suffix)) if first.trim().is_empty() => (length.saturating_sub(suffix), length),
        _ => return Ok(None),
    };
    if start < end { Ok(Some(Range { start, end })) } else { Err(Unsatisfiable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_range() {
        let range = |header| parse(Some(header), 10);
        assert_eq!(range("bytes=0-3"), Ok(Some(Range { start: 0, end: 4 })));
        assert_eq!(range("bytes=4-"), Ok(Some(Range { start: 4, end: 10 })));
        assert_eq!(range("bytes=-3"), Ok(Some(Range { start: 7, end: 10 })));
        assert_eq!(range("bytes=-30"), Ok(Some(Range { start: 0, end: 10 })));
        assert_eq!(range("bytes=8-99999999999999999999"), Ok(None));
        assert_eq!(range("bytes=8-18446744073709551615"), Ok(Some(Range { start: 8, end: 10 })));
        assert_eq!(range("bytes=10-"), Err(Unsatisfiable));
        assert_eq!(range("bytes=-0"), Err(Unsatisfiable));
        for ignored in ["bytes=3-1", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b", "bytes", ""] {
            assert_eq!(range(ignored), Ok(None), "{ignored}");
        }
        assert_eq!(parse(None, 10), Ok(None));
    }
}
