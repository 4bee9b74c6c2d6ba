//! What a process writes, as frames that any number of readers address by their positions while it grows.
//!
//! A frame is bytes of one [`Channel`]; its position counts all bytes before it. A ledger is bounded: it keeps the
//! newest or the first of them, and whoever reads what is not kept is told how much that is. A reader that takes a
//! [`Place`] can hold the process up, so that it loses nothing while it follows, but not for ever: one that takes nothing
//! for a minute is waited for no more. Without readers a process never waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, watch};

use super::text::Decoder;
use crate::shared::Shared;

/// Small writes to one channel become one frame, up to this size.
const FRAME: usize = 32 * 1024;
/// As many bytes of its limit a ledger counts for each frame at least, since a frame costs memory of its own.
const SMALLEST: usize = 64;
/// How long a process waits for readers of which none takes anything. A client that has stalled must not stop it for good.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Stdout,
    Stderr,
    Pty,
}

/// What is kept of more than a ledger's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For readers that follow or come later.
    Newest,
    /// For an answer with the whole output.
    First,
}

#[derive(Debug)]
pub struct Ledger {
    state: Shared<State>,
    keep: Keep,
    changed: watch::Sender<()>,
    /// How far each reader with a place has got.
    readers: Shared<BTreeMap<u64, u64>>,
    progress: Notify,
}

/// A reader's place in a ledger, for as long as it follows.
#[derive(Debug)]
pub struct Place<'a> {
    ledger: &'a Ledger,
    number: u64,
    position: u64,
    changes: watch::Receiver<()>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    frames: VecDeque<Frame>,
    /// The position after the last byte.
    end: u64,
    kept: usize,
    /// Bytes of each channel that are not kept.
    gone: [u64; 3],
    /// How many have more to say; without any there is nothing more to wait for.
    writers: u32,
}

#[derive(Debug)]
struct Frame {
    channel: Channel,
    position: u64,
    bytes: Vec<u8>,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Output(Channel, Vec<u8>),
    /// So many bytes are not kept.
    Gap(u64),
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

impl Ledger {
    /// Keeps so many bytes.
    pub fn new(keep: Keep, limit: usize) -> Self {
        let state = State { limit, frames: VecDeque::new(), end: 0, kept: 0, gone: [0; 3], writers: 1 };
        Self {
            state: Shared::new(state),
            keep,
            changed: watch::Sender::new(()),
            readers: Shared::default(),
            progress: Notify::new(),
        }
    }

    pub fn append(&self, channel: Channel, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let kept = match self.keep {
            Keep::Newest => bytes,
            Keep::First => &bytes[..bytes.len().min(state.room())],
        };
        state.add(channel, kept);
        state.end += bytes.len() as u64;
        state.gone[channel as usize] += (bytes.len() - kept.len()) as u64;
        while state.is_over() {
            state.drop_first();
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// Another one has something to say beside the process, and closes it as well.
    pub fn share(&self) {
        self.state.lock().writers += 1;
    }

    /// Tells readers that what is there now is everything they need to wait for, once all who write have done so.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.writers = state.writers.saturating_sub(1);
        drop(state);
        self.changed.send_replace(());
    }

    /// The bytes that are kept.
    pub fn kept(&self) -> usize {
        self.state.lock().kept
    }

    /// Keeps nothing of what was written.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        while !state.frames.is_empty() {
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
        let first = state.frames.front().map_or(state.end, |frame| frame.position);
        if earliest <= first {
            return first;
        }
        let break_in = |frame: &Frame| {
            let from = earliest.saturating_sub(frame.position) as usize;
            let at = memchr::memchr(b'\n', &frame.bytes[from..])?;
            Some(frame.position + (from + at + 1) as u64)
        };
        state.frames.iter().filter(|frame| frame.end() > earliest).filter_map(break_in).next().unwrap_or(earliest)
    }

    /// Takes a place for a reader.
    pub fn place(&self, position: u64) -> Place<'_> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.readers.lock().insert(number, position);
        Place { ledger: self, number, position, changes: self.changed.subscribe() }
    }

    /// Waits until the fastest reader is at most half of the limit behind, or none is left to wait for. Who takes nothing all
    /// the while is waited for again when it takes something.
    pub async fn wait_for_readers(&self) {
        loop {
            let progress = self.progress.notified();
            let fastest = self.readers.lock().values().max().copied();
            if fastest.is_none_or(|position| self.state.lock().is_near(position)) {
                return;
            }
            if tokio::time::timeout(PATIENCE, progress).await.is_err() {
                self.readers.lock().clear();
            }
        }
    }

    /// What stands at a position, which is moved behind it. None when nothing does yet.
    pub fn read(&self, position: &mut u64) -> Option<Piece> {
        let state = self.state.lock();
        if *position >= state.end {
            return (state.writers == 0).then_some(Piece::End);
        }
        let index = state.frames.partition_point(|frame| frame.end() <= *position);
        let frame = state.frames.get(index);
        let next = frame.map_or(state.end, |frame| frame.position);
        if *position < next {
            let gap = next - *position;
            *position = next;
            return Some(Piece::Gap(gap));
        }
        let frame = frame?;
        let bytes = frame.bytes[(*position - frame.position) as usize..].to_vec();
        *position += bytes.len() as u64;
        Some(Piece::Output(frame.channel, bytes))
    }

    /// Everything that is kept. Bytes that are no UTF-8 become replacement characters.
    pub fn texts(&self) -> Texts {
        let state = self.state.lock();
        let begin = |gone: u64| if gone > 0 { gap_text(gone) } else { String::new() };
        let mut texts = Texts {
            output: begin(state.gone.iter().sum()),
            stdout: begin(state.gone[Channel::Stdout as usize]),
            stderr: begin(state.gone[Channel::Stderr as usize]),
        };
        // A character of one channel may be cut by output of another.
        let mut decoders = Decoders::default();
        for frame in &state.frames {
            texts.add(frame.channel, &decoders.decode(frame.channel, &frame.bytes));
        }
        for (channel, text) in decoders.finish() {
            texts.add(channel, text);
        }
        texts
    }

    /// Takes everything out.
    pub fn take(&self) -> impl Iterator<Item = (Channel, Vec<u8>)> {
        let mut state = self.state.lock();
        state.kept = 0;
        std::mem::take(&mut state.frames).into_iter().map(|frame| (frame.channel, frame.bytes))
    }

    /// Takes everything out as one text, with the number of bytes that were not kept; what comes later is not kept.
    pub fn take_text(&self) -> (String, u64) {
        let (mut text, mut decoders) = (String::new(), Decoders::default());
        for (channel, bytes) in self.take() {
            text.push_str(&decoders.decode(channel, &bytes));
        }
        text.extend(decoders.finish().map(|(_, text)| text));
        let mut state = self.state.lock();
        state.limit = 0;
        (text, state.gone.iter().sum())
    }

    /// Everything that is kept, as [`framed`] pieces.
    pub fn framed(&self) -> Vec<u8> {
        let (mut frames, mut position) = (Vec::new(), 0);
        while let Some(piece) = self.read(&mut position) {
            match framed(piece) {
                Some(frame) => frames.extend(frame),
                None => break,
            }
        }
        frames
    }
}

/// One decoder for each channel.
#[derive(Debug, Default)]
pub struct Decoders([Decoder; 3]);

impl Decoders {
    pub fn decode(&mut self, channel: Channel, bytes: &[u8]) -> String {
        self.0[channel as usize].decode(bytes)
    }

    /// What was cut and has no rest.
    pub fn finish(&mut self) -> impl Iterator<Item = (Channel, &'static str)> {
        [Channel::Stdout, Channel::Stderr, Channel::Pty].into_iter().zip(self.0.iter_mut().map(Decoder::finish))
    }
}

impl Texts {
    fn add(&mut self, channel: Channel, text: &str) {
        self.output.push_str(text);
        match channel {
            Channel::Stdout => self.stdout.push_str(text),
            Channel::Stderr => self.stderr.push_str(text),
            Channel::Pty => {}
        }
    }
}

impl Place<'_> {
    /// The next piece, when the reader is done with the one before. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Piece {
        self.ledger.readers.lock().insert(self.number, self.position);
        self.ledger.progress.notify_waiters();
        loop {
            if let Some(piece) = self.ledger.read(&mut self.position) {
                return piece;
            }
            // The sender is the ledger's, which outlives its places.
            let _ = self.changes.changed().await;
        }
    }

    /// The next piece, unless it begins at this position or behind it.
    pub fn next_before(&mut self, end: u64) -> Option<Piece> {
        if self.position < end { self.ledger.read(&mut self.position) } else { None }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.ledger.readers.lock().remove(&self.number);
        self.ledger.progress.notify_waiters();
    }
}

impl Frame {
    fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }
}

impl State {
    fn add(&mut self, channel: Channel, bytes: &[u8]) {
        self.kept += bytes.len();
        match self.frames.back_mut() {
            Some(last) if last.channel == channel && last.bytes.len() + bytes.len() <= FRAME => {
                last.bytes.extend_from_slice(bytes);
            }
            _ if bytes.is_empty() => {}
            _ => self.frames.push_back(Frame { channel, position: self.end, bytes: bytes.to_vec() }),
        }
    }

    /// How many bytes fit in behind the others.
    fn room(&self) -> usize {
        if self.frames.len() * SMALLEST < self.limit { self.limit - self.kept } else { 0 }
    }

    fn is_over(&self) -> bool {
        self.kept > self.limit || self.frames.len() * SMALLEST > self.limit
    }

    /// Whether a reader at this position is at most half of the limit behind.
    fn is_near(&self, position: u64) -> bool {
        let ahead = self.frames.len() - self.frames.partition_point(|frame| frame.end() <= position);
        self.end <= position + self.limit as u64 / 2 && ahead * SMALLEST <= self.limit / 2
    }

    fn drop_first(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.kept -= frame.bytes.len();
            self.gone[frame.channel as usize] += frame.bytes.len() as u64;
        }
    }
}

/// A piece as streams of both outputs carry it: three equal bytes, 1 for standard output and 2 for standard error, then
/// output of that kind. None at the end.
pub fn framed(piece: Piece) -> Option<Vec<u8>> {
    let (mark, bytes) = match piece {
        Piece::Output(Channel::Stderr, bytes) => (2, bytes),
        Piece::Output(_, bytes) => (1, bytes),
        Piece::Gap(bytes) => (1, gap_text(bytes).into_bytes()),
        Piece::End => return None,
    };
    Some([&[mark; 3], &bytes[..]].concat())
}

/// How a gap looks to people.
pub fn gap_text(bytes: u64) -> String {
    format!("[{bytes} earlier bytes of output are not kept]\n")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LIMIT: usize = 32 * FRAME;

    fn newest(limit: usize) -> Ledger {
        Ledger::new(Keep::Newest, limit)
    }

    fn read_all(ledger: &Ledger, position: &mut u64) -> (Vec<(Channel, Vec<u8>)>, u64) {
        let (mut pieces, mut gaps) = (Vec::new(), 0);
        loop {
            match ledger.read(position) {
                Some(Piece::Output(channel, bytes)) => pieces.push((channel, bytes)),
                Some(Piece::Gap(bytes)) => gaps += bytes,
                None | Some(Piece::End) => return (pieces, gaps),
            }
        }
    }

    #[test]
    fn readers_keep_their_positions() {
        let ledger = newest(LIMIT);
        let mut position = 0;
        assert_eq!(ledger.read(&mut position), None);
        ledger.append(Channel::Stdout, b"ab");
        ledger.append(Channel::Stdout, b"c");
        ledger.append(Channel::Stderr, b"E");
        assert_eq!(
            read_all(&ledger, &mut position).0,
            [(Channel::Stdout, b"abc".to_vec()), (Channel::Stderr, b"E".to_vec())]
        );
        ledger.append(Channel::Stderr, b"F");
        assert_eq!(read_all(&ledger, &mut position).0, [(Channel::Stderr, b"F".to_vec())]);
        ledger.close();
        assert_eq!(ledger.read(&mut position), Some(Piece::End));
        let texts = ledger.texts();
        assert_eq!((texts.output.as_str(), texts.stdout.as_str(), texts.stderr.as_str()), ("abcEF", "abc", "EF"));
    }

    #[test]
    fn characters_are_whole_in_each_text() {
        let ledger = newest(LIMIT);
        let (first, rest) = "漢字".as_bytes().split_at(1);
        for (channel, bytes) in [(Channel::Stdout, first), (Channel::Stderr, b"line\n"), (Channel::Stdout, rest)] {
            ledger.append(channel, bytes);
        }
        ledger.append(Channel::Stderr, &rest[..1]);
        let texts = ledger.texts();
        assert_eq!((texts.stdout.as_str(), texts.stderr.as_str()), ("漢字", "line\n\u{fffd}"));
        assert_eq!(texts.output, "line\n漢字\u{fffd}");
        assert_eq!(ledger.framed()[..4], [1, 1, 1, first[0]]);
        assert_eq!(ledger.take_text(), ("line\n漢字\u{fffd}".to_owned(), 0));
    }

    #[tokio::test]
    async fn a_process_waits_for_readers_that_follow() {
        let ledger = newest(1000);
        ledger.append(Channel::Stdout, &[0; 900]);
        ledger.wait_for_readers().await;
        let mut place = ledger.place(400);
        assert!(ledger.wait_for_readers().now_or_never().is_some());
        ledger.append(Channel::Stderr, &[0; 10]);
        assert!(ledger.wait_for_readers().now_or_never().is_none());
        assert_eq!(place.next().await, Piece::Output(Channel::Stdout, vec![0; 500]));
        assert!(ledger.wait_for_readers().now_or_never().is_none(), "it may not be done with that");
        assert_eq!(place.next().await, Piece::Output(Channel::Stderr, vec![0; 10]));
        ledger.wait_for_readers().await;
        ledger.append(Channel::Stdout, &[0; 600]);
        assert!(ledger.wait_for_readers().now_or_never().is_none());
        drop(place);
        ledger.wait_for_readers().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_not_waited_for() {
        let ledger = newest(1000);
        let mut place = ledger.place(0);
        ledger.append(Channel::Stdout, &[0; 900]);
        let began = tokio::time::Instant::now();
        ledger.wait_for_readers().await;
        assert_eq!(began.elapsed(), PATIENCE);
        ledger.append(Channel::Stderr, &[0; 900]);
        ledger.wait_for_readers().await;
        assert_eq!(began.elapsed(), PATIENCE, "nor from then on");
        assert_eq!(place.next().await, Piece::Gap(900), "it is told what it missed");
        assert!(ledger.wait_for_readers().now_or_never().is_none(), "it takes something again");
    }

    #[tokio::test]
    async fn it_ends_when_all_who_write_have_ended() {
        let ledger = newest(LIMIT);
        ledger.share();
        let mut place = ledger.place(0);
        ledger.close();
        assert!(place.next().now_or_never().is_none(), "another one may still write");
        ledger.append(Channel::Stderr, b"why it ended");
        ledger.close();
        assert_eq!(place.next().await, Piece::Output(Channel::Stderr, b"why it ended".to_vec()));
        assert_eq!(place.next().await, Piece::End);
    }

    #[test]
    fn old_output_goes_and_says_so() {
        let ledger = newest(LIMIT);
        let block = vec![b'x'; FRAME];
        let blocks = LIMIT / FRAME + 3;
        (0..blocks).for_each(|_| ledger.append(Channel::Stdout, &block));
        let (pieces, gap) = read_all(&ledger, &mut 0);
        assert_eq!(gap, 3 * FRAME as u64);
        assert_eq!(pieces.len(), blocks - 3);
        assert!(ledger.texts().output.starts_with("[98304 earlier bytes"));
        assert!(ledger.texts().stdout.starts_with("[98304 earlier bytes") && ledger.texts().stderr.is_empty());
        assert_eq!(ledger.recent_line(10), ledger.end() - 10);
        ledger.append(Channel::Stdout, b"\nlast");
        assert_eq!(ledger.recent_line(10), ledger.end() - 4);
        assert_eq!(ledger.recent_line(u64::MAX), 3 * FRAME as u64 + FRAME as u64);
        ledger.forget();
        assert_eq!((ledger.kept(), read_all(&ledger, &mut 0).0.len()), (0, 0));
    }

    #[test]
    fn the_first_output_stays_and_the_rest_is_counted() {
        let ledger = Ledger::new(Keep::First, 1000);
        let mut position = 0;
        for _ in 0..3 {
            ledger.append(Channel::Stdout, &[b'x'; 400]);
        }
        ledger.append(Channel::Stderr, b"late");
        let (pieces, gap) = read_all(&ledger, &mut position);
        let read: usize = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!((read, gap, position), (1000, 204, 1204));
        assert_eq!(ledger.take_text(), ("x".repeat(1000), 204));
        ledger.append(Channel::Stdout, b"in the background");
        assert_eq!(ledger.kept(), 0);
    }

    #[tokio::test]
    async fn tiny_frames_do_not_take_more_memory_than_large_ones() {
        let ledger = newest(1024);
        let tick = |number: usize| {
            ledger.append(if number.is_multiple_of(2) { Channel::Stdout } else { Channel::Stderr }, b".");
        };
        (0..100).for_each(tick);
        assert_eq!(ledger.kept(), 1024 / SMALLEST);
        let mut place = ledger.place(ledger.end());
        (0..9).for_each(tick);
        assert!(ledger.wait_for_readers().now_or_never().is_none(), "half of the frames are not read");
        while let Some(Piece::Output(..)) = place.next().now_or_never() {}
        ledger.wait_for_readers().await;
    }
}
