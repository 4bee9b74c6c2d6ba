//! What the agent and `driver.py` write to each other: messages of byte strings.
//!
//! A message is a line with the strings' lengths in decimal, then the strings. Needing no library, it keeps the
//! start of the interpreter short.

/// The largest message taken from a driver.
const LARGEST: usize = 64 * 1024 * 1024;
/// Enough for the lengths of a report.
const LONGEST_HEADER: usize = 256;

pub fn encode<'a>(fields: impl Iterator<Item = &'a str> + Clone) -> Vec<u8> {
    let lengths: Vec<String> = fields.clone().map(|field| field.len().to_string()).collect();
    let mut message = lengths.join(" ").into_bytes();
    message.push(b'\n');
    fields.for_each(|field| message.extend_from_slice(field.as_bytes()));
    message
}

/// The bytes are no message: something else wrote to the driver's descriptor.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// Takes the first message from the buffer, when it is complete.
pub fn decode(buffer: &mut Vec<u8>) -> Result<Option<Vec<String>>, Malformed> {
    let Some(header) = memchr::memchr(b'\n', &buffer[..buffer.len().min(LONGEST_HEADER)]) else {
        return if buffer.len() < LONGEST_HEADER { Ok(None) } else { Err(Malformed) };
    };
    let lengths = std::str::from_utf8(&buffer[..header]).map_err(|_| Malformed)?;
    let lengths: Vec<usize> =
        lengths.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().map_err(|_| Malformed)?;
    let size = lengths.iter().try_fold(header + 1, |size: usize, length| size.checked_add(*length));
    let size = size.filter(|size| *size <= LARGEST).ok_or(Malformed)?;
    if buffer.len() < size {
        return Ok(None);
    }
    let mut at = header + 1;
    let mut fields = Vec::with_capacity(lengths.len());
    for length in lengths {
        fields.push(String::from_utf8_lossy(&buffer[at..at + length]).into_owned());
        at += length;
    }
    buffer.drain(..size);
    Ok(Some(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_split() {
        let mut sent = encode(["a\nb", "", "ü"].into_iter());
        sent.extend(encode(std::iter::empty()));
        let mut buffer = Vec::new();
        let mut messages = Vec::new();
        for byte in sent {
            buffer.push(byte);
            while let Some(message) = decode(&mut buffer).expect("well formed") {
                messages.push(message);
            }
        }
        assert_eq!(messages, [vec!["a\nb".to_owned(), String::new(), "ü".to_owned()], vec![]]);
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b"x\n"[..], b"-1\n", b"99999999999999999999\n", b"1 18446744073709551615\n", &[b'1'; 300]] {
            assert_eq!(decode(&mut bytes.to_vec()), Err(Malformed));
        }
        // Whether its end has arrived already makes no difference.
        let long = [&[b' '; LONGEST_HEADER][..], b"\n"].concat();
        assert_eq!(decode(&mut long.clone()), Err(Malformed));
        assert_eq!(decode(&mut long[..LONGEST_HEADER].to_vec()), Err(Malformed));
    }
}
