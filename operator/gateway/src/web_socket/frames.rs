//! Messages as frames (RFC 6455 §5). A message comes whole, in room that it takes as it comes, and goes on as one frame.
//!
//! Beside the messages, which have their room and lose it when they have gone on, a socket has what was read last and what is being
//! written, of [`PIECE`] each: one that is idle costs nobody anything that a connection is not reckoned to cost.

use std::{io, io::Cursor, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use rustls::crypto::SecureRandom;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};
use ws_api::reason::Reason;

use crate::body::{BodyPermit, OwnRoom, Room};

/// Bytes that are read, searched and written at once: a multiple of a mask's length.
pub const PIECE: usize = 16 << 10;
/// The longest head of a frame.
pub const HEAD: u64 = 14;
/// The longest that a control frame carries.
const MAX_CONTROL: u64 = 125;
/// How long a message may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How long the other side may take to take it.
const DELIVERY: Duration = Duration::from_mins(10);
/// How long it may take to take the last word.
const CLOSING: Duration = Duration::from_secs(1);

type Mask = [u8; 4];

/// What messages may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most bytes of one.
    pub max: u64,
    pub room: Room,
    pub own: OwnRoom,
}

/// What comes from one side.
#[derive(Debug)]
pub enum Event {
    Message(Message),
    Ping(Bytes),
    Pong,
    Close,
}

/// A message that came whole.
#[derive(Debug)]
pub struct Message {
    pub kind: Data,
    /// They keep their room until they are dropped.
    pub bytes: Bytes,
}

/// Reads what one side says.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    limits: Limits,
    /// Whether it has to mask what it says: a workspace does, a host does not.
    is_masked: bool,
    /// What was read and not looked at.
    unread: BytesMut,
    frame: Option<Frame>,
    message: Option<PartialMessage>,
}

/// A frame whose head has come.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    /// Bytes that have not come.
    left: u64,
    mask: Mask,
}

/// A message of which some has come.
#[derive(Debug)]
struct PartialMessage {
    kind: Data,
    bytes: BytesMut,
    permit: BodyPermit,
    deadline: Instant,
}

/// Says something to one side.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    /// Where masks come from, if what is said has to be masked.
    random: Option<&'static dyn SecureRandom>,
    /// Whether it said half of something.
    is_within: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(from: R, is_masked: bool, limits: Limits) -> Self {
        Self { from, limits, is_masked, unread: BytesMut::new(), frame: None, message: None }
    }

    /// What comes next. Who drops this and asks again misses nothing.
    pub async fn next(&mut self) -> Result<Event, Reason> {
        loop {
            if let Some(event) = self.take().await? {
                return Ok(event);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Reason> {
        self.unread.reserve(PIECE);
        let read = self.from.read_buf(&mut self.unread);
        let read = match &self.message {
            Some(coming) => timeout_at(coming.deadline, read).await.map_err(|_| Reason::SlowBody)?,
            None => read.await,
        };
        match read {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(Reason::BrokenOff),
        }
    }

    /// What is whole of what was read.
    async fn take(&mut self) -> Result<Option<Event>, Reason> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.head()? {
                    Some(frame) => *self.frame.insert(frame),
                    None => return Ok(None),
                },
            };
            let event = match frame.opcode {
                OpCode::Control(kind) => self.control(kind, frame)?,
                OpCode::Data(_) => self.data(frame).await?,
            };
            // Else it is a frame in the middle of a message, or it has not come to its end.
            if event.is_some() || self.frame.is_some() {
                return Ok(event);
            }
        }
    }

    /// The head of a frame, if it has come.
    fn head(&mut self) -> Result<Option<Frame>, Reason> {
        let mut cursor = Cursor::new(&*self.unread);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Reason::Malformed)?;
        let length = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let Some((header, left)) = parsed else { return Ok(None) };
        self.unread.advance(length);
        let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = header;
        // No extension was agreed on that would give them a meaning.
        if rsv1 || rsv2 || rsv3 || mask.is_some() != self.is_masked {
            return Err(Reason::Malformed);
        }
        match opcode {
            OpCode::Control(_) if is_final && left <= MAX_CONTROL => (),
            OpCode::Control(_) => return Err(Reason::Malformed),
            OpCode::Data(kind) => self.begin(kind, left)?,
        }
        Ok(Some(Frame { opcode, is_final, left, mask: mask.unwrap_or_default() }))
    }

    /// Begins a message, or goes on with it, by a frame of so many bytes.
    fn begin(&mut self, kind: Data, length: u64) -> Result<(), Reason> {
        let Limits { max, room, own } = &self.limits;
        let before = match (kind, &self.message) {
            (Data::Text | Data::Binary, None) => 0,
            (Data::Continue, Some(coming)) => coming.bytes.len() as u64,
            (Data::Text | Data::Binary | Data::Continue | Data::Reserved(_), _) => {
                return Err(Reason::Malformed);
            }
        };
        if length > max.saturating_sub(before) {
            return Err(Reason::BodyTooLong);
        }
        let begun = || PartialMessage {
            kind,
            bytes: BytesMut::new(),
            permit: room.permit(own),
            deadline: Instant::now() + ARRIVAL,
        };
        self.message.get_or_insert_with(begun);
        Ok(())
    }

    /// A control frame, once it is there whole.
    fn control(&mut self, kind: Control, frame: Frame) -> Result<Option<Event>, Reason> {
        let length = usize::try_from(frame.left).unwrap_or(usize::MAX);
        let Some(carried) = self.unread.get(..length) else { return Ok(None) };
        let mut carried = carried.to_vec();
        self.unread.advance(length);
        self.frame = None;
        masked(&mut carried, frame.mask);
        match kind {
            Control::Close => Ok(Some(Event::Close)),
            Control::Ping => Ok(Some(Event::Ping(carried.into()))),
            Control::Pong => Ok(Some(Event::Pong)),
            Control::Reserved(_) => Err(Reason::Malformed),
        }
    }

    /// Takes what has come of a message; the message at its end.
    async fn data(&mut self, mut frame: Frame) -> Result<Option<Event>, Reason> {
        let Some(coming) = &mut self.message else { return Err(Reason::Malformed) };
        let length = self.unread.len().min(usize::try_from(frame.left).unwrap_or(usize::MAX));
        let before = coming.bytes.len();
        coming.permit.grow((before + length) as u64).await.ok_or(Reason::Overloaded)?;
        coming.bytes.extend_from_slice(self.unread.get(..length).unwrap_or_default());
        self.unread.advance(length);
        frame.mask = masked(coming.bytes.get_mut(before..).unwrap_or_default(), frame.mask);
        frame.left -= length as u64;
        self.frame = Some(frame).filter(|frame| frame.left > 0);
        if self.frame.is_some() || !frame.is_final {
            return Ok(None);
        }
        self.message.take().map(PartialMessage::whole).transpose()
    }
}

impl PartialMessage {
    fn whole(self) -> Result<Event, Reason> {
        let Self { kind, bytes, permit, .. } = self;
        if kind == Data::Text && std::str::from_utf8(&bytes).is_err() {
            return Err(Reason::Malformed);
        }
        Ok(Event::Message(Message { kind, bytes: permit.hold(bytes.freeze()) }))
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub fn new(to: W, random: Option<&'static dyn SecureRandom>) -> Self {
        Self { to, random, is_within: false }
    }

    /// Says something as one frame.
    pub async fn say(&mut self, opcode: OpCode, bytes: &[u8]) -> Result<(), Reason> {
        match timeout(DELIVERY, self.write(opcode, bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Reason::BrokenOff),
            Err(_) => Err(Reason::SlowBody),
        }
    }

    /// Says that nothing follows, with a code that says why, and ends.
    pub async fn close(&mut self, code: Option<u16>) {
        let code = code.map(u16::to_be_bytes);
        let said = async {
            if !self.is_within {
                let code = code.as_ref().map_or(&[][..], <[u8; 2]>::as_slice);
                self.write(OpCode::Control(Control::Close), code).await?;
            }
            self.to.shutdown().await
        };
        // Who does not listen has missed nothing.
        timeout(CLOSING, said).await.ok();
    }

    async fn write(&mut self, opcode: OpCode, bytes: &[u8]) -> io::Result<()> {
        let mask = self.random.map(mask).transpose()?;
        let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
        let mut piece = Vec::with_capacity(header.len(bytes.len() as u64) + bytes.len().min(PIECE));
        header.format(bytes.len() as u64, &mut piece).map_err(io::Error::other)?;
        self.is_within = true;
        let (first, rest) = bytes.split_at(bytes.len().min(PIECE));
        for bytes in std::iter::once(first).chain(rest.chunks(PIECE)) {
            let head = piece.len();
            piece.extend_from_slice(bytes);
            masked(piece.get_mut(head..).unwrap_or_default(), mask.unwrap_or_default());
            self.to.write_all(&piece).await?;
            piece.clear();
        }
        self.to.flush().await?;
        self.is_within = false;
        Ok(())
    }
}

/// A mask that nobody can tell beforehand (§5.3).
fn mask(random: &dyn SecureRandom) -> io::Result<Mask> {
    let mut mask = Mask::default();
    random.fill(&mut mask).map_err(|_| io::Error::other("no randomness"))?;
    Ok(mask)
}

/// Puts a mask on bytes, or takes it off; the mask for those that follow.
fn masked(bytes: &mut [u8], mut mask: Mask) -> Mask {
    let length = mask.len();
    for piece in bytes.chunks_mut(length) {
        piece.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    mask.rotate_left(bytes.len() % length);
    mask
}

#[cfg(test)]
#[path = "frames/tests.rs"]
mod tests;
