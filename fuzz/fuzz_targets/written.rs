//! A plain reading of HTTP/2 (RFC 9113) and of header blocks (RFC 7541) in which nothing is compressed.

use http::HeaderMap;

use crate::fixed::FIXED;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// Name and value.
pub type Field = (Vec<u8>, Vec<u8>);

/// A frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    content: &'a [u8],
}

impl Frame<'_> {
    /// What it holds beside its padding and its place among the others.
    pub fn content(&self) -> Option<&[u8]> {
        let (padding, content) = if self.flags & PADDED == 0 {
            (0, self.content)
        } else {
            let (padding, content) = self.content.split_first()?;
            (usize::from(*padding), content)
        };
        let content = content.get(..content.len().checked_sub(padding)?)?;
        content.get(if self.kind == HEADERS && self.flags & PRIORITY != 0 { 5 } else { 0 }..)
    }
}

/// The frames that are there whole.
pub fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<9>()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let (content, rest) =
            rest.split_at_checked(usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))?;
        bytes = rest;
        // The first bit means nothing.
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream) & !(1 << 31), content })
    })
}

/// The header blocks among frames, also those that nobody takes.
pub fn blocks(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut blocks, mut is_open) = (Vec::<Vec<u8>>::new(), false);
    for frame in frames(bytes) {
        match (frame.kind, blocks.last_mut()) {
            (CONTINUATION, Some(block)) if is_open => {
                block.extend(frame.content);
                is_open = frame.flags & END_HEADERS == 0;
            }
            (HEADERS, _) => {
                blocks.push(frame.content().unwrap_or_default().to_vec());
                is_open = frame.flags & END_HEADERS == 0;
            }
            _ => {}
        }
    }
    blocks
}

/// Reads a block, unless it is compressed.
pub fn fields(mut block: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while let [first, ..] = block {
        let (name, value) = match first {
            0x80.. => {
                let (name, value) = fixed(number(&mut block, 7)?)?;
                (name.to_vec(), value.to_vec())
            }
            // A new size of a table that is not used.
            0x20..0x40 => {
                number(&mut block, 5)?;
                continue;
            }
            _ => {
                let name = match number(&mut block, if *first & 0x40 == 0 { 4 } else { 6 })? {
                    0 => text(&mut block)?,
                    index => fixed(index)?.0.to_vec(),
                };
                (name, text(&mut block)?)
            }
        };
        fields.push((name, value));
    }
    Some(fields)
}

/// Of the static table. Of the dynamic one, nothing.
fn fixed(index: usize) -> Option<(&'static [u8], &'static [u8])> {
    let (name, value) = FIXED.get(index.checked_sub(1)?)?;
    Some((name.as_bytes(), value.as_bytes()))
}

/// What headers take, as an end counts them that says how much it takes (RFC 9113 §6.5.2).
pub fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

fn text(block: &mut &[u8]) -> Option<Vec<u8>> {
    let is_huffman = block.first()? & 0x80 != 0;
    let length = number(block, 7)?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    (!is_huffman).then(|| text.to_vec())
}

/// A number whose first byte has so many bits of it.
fn number(block: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, mut rest) = block.split_first()?;
    let most = (1 << bits) - 1;
    let mut number = usize::from(*first) & most;
    if number == most {
        for shift in [0, 7, 14, 21] {
            let (next, after) = rest.split_first()?;
            number += usize::from(next & 0x7f) << shift;
            rest = after;
            if next & 0x80 == 0 {
                *block = rest;
                return Some(number);
            }
        }
        return None;
    }
    *block = rest;
    Some(number)
}
