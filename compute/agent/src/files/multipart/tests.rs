use super::*;

/// Parts and contents of a body that arrives in pieces of one size.
fn read(body: &[u8], size: usize) -> Result<Vec<(String, Vec<u8>)>, MultipartError> {
    let pieces: Vec<Bytes> = body.chunks(size).map(Bytes::copy_from_slice).collect();
    let mut pieces = pieces.into_iter();
    let mut multipart = Multipart::new("XX", move || pieces.next());
    let mut parts = Vec::new();
    while let Some(part) = multipart.next_part()? {
        let mut content = Vec::new();
        while let Some(piece) = multipart.content()? {
            content.extend_from_slice(&piece);
        }
        parts.push((part.name, content));
    }
    Ok(parts)
}

const BODY: &[u8] =
    b"--XX\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--X\r\n\
    --XX\r\ncontent-disposition: form-data; filename=\"x;name=y\"; name=b\r\n\r\n\r\n\
    --XX  \r\nContent-Disposition: form-data; name=\"c \\\"q\\\"\"\r\n\r\n\r\n\r\r\n\r\n--XX--\r\nafter";

#[test]
fn every_split_gives_the_same_parts() {
    let expected: Vec<(String, Vec<u8>)> =
        vec![("a".into(), b"one\r\n--X".to_vec()), ("b".into(), vec![]), ("c \"q\"".into(), b"\r\n\r\r\n".to_vec())];
    for size in 1..=BODY.len() {
        assert_eq!(read(BODY, size).as_ref(), Ok(&expected), "pieces of {size}");
    }
}

#[test]
fn text_before_the_first_boundary_is_dropped() {
    let mut body = b"preamble\r\n".to_vec();
    body.extend_from_slice(BODY);
    assert_eq!(read(&body, 7).map(|parts| parts.len()), Ok(3));
}

#[test]
fn content_can_be_passed_over() {
    let mut once = Some(Bytes::from_static(BODY));
    let mut multipart = Multipart::new("XX", move || once.take());
    let names: Vec<_> =
        std::iter::from_fn(|| multipart.next_part().expect("well formed")).map(|part| part.name).collect();
    assert_eq!(names, ["a", "b", "c \"q\""]);
}

#[test]
fn broken_bodies_are_errors() {
    for cut in 0..BODY.len() - 7 {
        assert_eq!(read(&BODY[..cut], 5), Err(MultipartError::Truncated), "cut at {cut}");
    }
    assert!(matches!(read(b"--XXY\r\n\r\n", 4), Err(MultipartError::Malformed(_))));
    assert!(matches!(read(b"--XX\r\nA: b\r\n\r\n", 4), Err(MultipartError::Malformed(_))));
    let endless = [b"--XX\r\n".to_vec(), vec![b'h'; LONGEST_HEADERS * 2]].concat();
    assert!(matches!(read(&endless, 100), Err(MultipartError::Malformed(_))));
}

#[test]
fn boundaries() {
    let of = |text| boundary(text);
    assert_eq!(of("multipart/form-data; boundary=abc"), Some(Ok("abc".into())));
    assert_eq!(of("Multipart/Form-Data; charset=utf-8; Boundary=\"a;b c\""), Some(Ok("a;b c".into())));
    assert_eq!(of("multipart/form-data"), Some(Err(MultipartError::NoBoundary)));
    assert_eq!(of("application/octet-stream"), None);
}
