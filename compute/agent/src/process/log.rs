//! The output of a program that may be read while it grows, by any number of readers.
//!
//! The newest bytes are kept, up to a limit. Whoever reads what is gone is told how much. A reader that takes a
//! [`Place`] can hold the program up, so that it loses nothing while it follows; without one a program never waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::{Notify, watch};

use super::text::Decoder;
use crate::shared::Shared;

/// Of one program, unless its owner says otherwise.
const LIMIT: usize = 8 * 1024 * 1024;
/// Small writes are put together up to this size.
const SEGMENT: usize = 32 * 1024;

/// Which of its two outputs a program wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug)]
pub struct Log {
    state: Shared<State>,
    changed: watch::Sender<()>,
    limit: usize,
    /// How far each reader with a place has got.
    readers: Shared<BTreeMap<u64, u64>>,
    progress: Notify,
}

/// A reader's place in the output, for as long as it follows.
#[derive(Debug)]
pub struct Place<'a> {
    log: &'a Log,
    number: u64,
    pub position: u64,
}

#[derive(Debug, Default)]
struct State {
    segments: VecDeque<Segment>,
    /// The position after the last byte.
    end: u64,
    kept: usize,
    /// Bytes of standard output and of standard error that are not kept.
    gone: [u64; 2],
    /// The program has ended.
    closed: bool,
}

#[derive(Debug)]
struct Segment {
    stream: Stream,
    /// The position of its first byte among all that were ever written.
    start: u64,
    bytes: Vec<u8>,
}

/// What a reader gets next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Output(Stream, Vec<u8>),
    /// So many bytes are gone.
    Gap(u64),
    /// Nothing yet.
    Wait,
    End,
}

/// The whole log as text.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = SessionCommandLogsResponse))]
pub struct Texts {
    /// Both streams, as they came.
    pub output: String,
    pub stdout: String,
    pub stderr: String,
}

impl Default for Log {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl Log {
    /// Keeps so many bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            state: Shared::default(),
            changed: watch::Sender::new(()),
            limit,
            readers: Shared::default(),
            progress: Notify::new(),
        }
    }

    pub fn append(&self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        match state.segments.back_mut() {
            Some(last) if last.stream == stream && last.bytes.len() + bytes.len() <= SEGMENT => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => {
                let start = state.end;
                state.segments.push_back(Segment { stream, start, bytes: bytes.to_vec() });
            }
        }
        state.end += bytes.len() as u64;
        state.kept += bytes.len();
        while state.kept > self.limit {
            state.drop_first();
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// Tells readers that what is there now is everything they need to wait for.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.send_replace(());
    }

    /// The bytes that are kept.
    pub fn kept(&self) -> usize {
        self.state.lock().kept
    }

    /// Keeps nothing of what was written.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        while !state.segments.is_empty() {
            state.drop_first();
        }
    }

    /// The position after the last byte.
    pub fn end(&self) -> u64 {
        self.state.lock().end
    }

    /// The position of a line that begins about so many bytes before the end, or of the first byte that is kept.
    pub fn recent_line(&self, bytes: u64) -> u64 {
        let state = self.state.lock();
        let earliest = state.end.saturating_sub(bytes);
        let first = state.segments.front().map_or(state.end, |segment| segment.start);
        if earliest <= first {
            return first;
        }
        let newer = state.segments.iter().filter(|segment| segment.start + segment.bytes.len() as u64 > earliest);
        let break_in = |segment: &Segment| {
            let from = earliest.saturating_sub(segment.start) as usize;
            let at = memchr::memchr(b'\n', &segment.bytes[from..])?;
            Some(segment.start + (from + at + 1) as u64)
        };
        newer.filter_map(break_in).next().unwrap_or(earliest)
    }

    /// A receiver that hears of everything appended after this call.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Takes a place for a reader.
    pub fn place(&self, position: u64) -> Place<'_> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.readers.lock().insert(number, position);
        Place { log: self, number, position }
    }

    /// Waits until the fastest reader is at most half of the limit behind, or none is left to wait for.
    pub async fn wait_for_readers(&self) {
        loop {
            let progress = self.progress.notified();
            let fastest = self.readers.lock().values().max().copied();
            if fastest.is_none_or(|position| self.end() <= position + self.limit as u64 / 2) {
                return;
            }
            progress.await;
        }
    }

    /// What stands at a position, which is moved behind it.
    pub fn read(&self, position: &mut u64) -> Piece {
        let state = self.state.lock();
        if *position >= state.end {
            return if state.closed { Piece::End } else { Piece::Wait };
        }
        let first = state.segments.front().map_or(state.end, |segment| segment.start);
        if *position < first {
            let gap = first - *position;
            *position = first;
            return Piece::Gap(gap);
        }
        let index = state.segments.partition_point(|segment| segment.start <= *position) - 1;
        let segment = &state.segments[index];
        let bytes = segment.bytes[(*position - segment.start) as usize..].to_vec();
        *position += bytes.len() as u64;
        Piece::Output(segment.stream, bytes)
    }

    /// Everything that is kept. Bytes that are no UTF-8 become replacement characters.
    pub fn texts(&self) -> Texts {
        let state = self.state.lock();
        let begin = |gone: u64| if gone > 0 { gap_text(gone) } else { String::new() };
        let mut texts = Texts {
            output: begin(state.gone.iter().sum()),
            stdout: begin(state.gone[Stream::Stdout as usize]),
            stderr: begin(state.gone[Stream::Stderr as usize]),
        };
        // A character of one stream may be cut by output of the other.
        let mut decoders = [Decoder::default(), Decoder::default()];
        for segment in &state.segments {
            let text = decoders[segment.stream as usize].decode(&segment.bytes);
            texts.add(segment.stream, &text);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            texts.add(stream, decoders[stream as usize].finish());
        }
        texts
    }

    /// Everything that is kept, as [`framed`] pieces.
    pub fn framed(&self) -> Vec<u8> {
        let (mut frames, mut position) = (Vec::new(), 0);
        loop {
            match self.read(&mut position) {
                Piece::Output(stream, bytes) => frames.extend(framed(stream, &bytes)),
                Piece::Gap(bytes) => frames.extend(framed(Stream::Stdout, gap_text(bytes).as_bytes())),
                Piece::Wait | Piece::End => return frames,
            }
        }
    }
}

impl Texts {
    fn add(&mut self, stream: Stream, text: &str) {
        self.output.push_str(text);
        match stream {
            Stream::Stdout => self.stdout.push_str(text),
            Stream::Stderr => self.stderr.push_str(text),
        }
    }
}

impl Place<'_> {
    /// The reader has everything up to its position.
    pub fn advance(&self) {
        self.log.readers.lock().insert(self.number, self.position);
        self.log.progress.notify_waiters();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.log.readers.lock().remove(&self.number);
        self.log.progress.notify_waiters();
    }
}

impl State {
    fn drop_first(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            self.kept -= segment.bytes.len();
            self.gone[segment.stream as usize] += segment.bytes.len() as u64;
        }
    }
}

/// Output as streams of both kinds carry it: three equal bytes, 1 for standard output and 2 for standard error, then
/// output of that kind.
pub fn framed(stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let mark = match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    let mut frame = Vec::with_capacity(3 + bytes.len());
    frame.extend_from_slice(&[mark; 3]);
    frame.extend_from_slice(bytes);
    frame
}

/// How a gap looks to people.
pub fn gap_text(bytes: u64) -> String {
    format!("[{bytes} earlier bytes of output are not kept]\n")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn read_all(log: &Log, position: &mut u64) -> (Vec<(Stream, Vec<u8>)>, u64) {
        let (mut pieces, mut gaps) = (Vec::new(), 0);
        loop {
            match log.read(position) {
                Piece::Output(stream, bytes) => pieces.push((stream, bytes)),
                Piece::Gap(bytes) => gaps += bytes,
                Piece::Wait | Piece::End => return (pieces, gaps),
            }
        }
    }

    #[test]
    fn readers_keep_their_places() {
        let log = Log::default();
        let mut position = 0;
        assert_eq!(log.read(&mut position), Piece::Wait);
        log.append(Stream::Stdout, b"ab");
        log.append(Stream::Stdout, b"c");
        log.append(Stream::Stderr, b"E");
        assert_eq!(
            read_all(&log, &mut position).0,
            [(Stream::Stdout, b"abc".to_vec()), (Stream::Stderr, b"E".to_vec())]
        );
        log.append(Stream::Stderr, b"F");
        assert_eq!(read_all(&log, &mut position).0, [(Stream::Stderr, b"F".to_vec())]);
        log.close();
        assert_eq!(log.read(&mut position), Piece::End);
        let texts = log.texts();
        assert_eq!((texts.output.as_str(), texts.stdout.as_str(), texts.stderr.as_str()), ("abcEF", "abc", "EF"));
    }

    #[test]
    fn characters_are_whole_in_each_text() {
        let log = Log::default();
        let (first, rest) = "漢字".as_bytes().split_at(1);
        for (stream, bytes) in [(Stream::Stdout, first), (Stream::Stderr, b"line\n"), (Stream::Stdout, rest)] {
            log.append(stream, bytes);
        }
        log.append(Stream::Stderr, &rest[..1]);
        let texts = log.texts();
        assert_eq!((texts.stdout.as_str(), texts.stderr.as_str()), ("漢字", "line\n\u{fffd}"));
        assert_eq!(texts.output, "line\n漢字\u{fffd}");
        assert_eq!(log.framed()[..4], [1, 1, 1, first[0]]);
    }

    #[tokio::test]
    async fn a_program_waits_for_readers_that_follow() {
        let log = Log::with_limit(1000);
        log.append(Stream::Stdout, &[0; 900]);
        log.wait_for_readers().await;
        let mut place = log.place(0);
        assert!(log.wait_for_readers().now_or_never().is_none());
        place.position = 500;
        place.advance();
        log.wait_for_readers().await;
        log.append(Stream::Stdout, &[0; 200]);
        assert!(log.wait_for_readers().now_or_never().is_none());
        drop(place);
        log.wait_for_readers().await;
    }

    #[test]
    fn old_output_goes_and_says_so() {
        let log = Log::default();
        let block = vec![b'x'; SEGMENT];
        let blocks = LIMIT / SEGMENT + 3;
        (0..blocks).for_each(|_| log.append(Stream::Stdout, &block));
        let (pieces, gap) = read_all(&log, &mut 0);
        assert_eq!(gap, 3 * SEGMENT as u64);
        assert_eq!(pieces.len(), blocks - 3);
        assert!(log.texts().output.starts_with("[98304 earlier bytes"));
        assert!(log.texts().stdout.starts_with("[98304 earlier bytes") && log.texts().stderr.is_empty());
        assert_eq!(log.recent_line(10), log.end() - 10);
        log.append(Stream::Stdout, b"\nlast");
        assert_eq!(log.recent_line(10), log.end() - 4);
        assert_eq!(log.recent_line(u64::MAX), 3 * SEGMENT as u64 + SEGMENT as u64);
        log.forget();
        assert_eq!((log.kept(), read_all(&log, &mut 0).0.len()), (0, 0));
    }
}
