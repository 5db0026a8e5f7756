//! A plain reading of HTTP/2 (RFC 9113) and of header blocks (RFC 7541) in which nothing is compressed.

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// What a header block says of where its request goes.
#[derive(Debug, Default)]
pub struct Written {
    pub method: Vec<u8>,
    pub path: Option<Vec<u8>>,
    pub authority: Option<Vec<u8>>,
    pub hosts: Vec<Vec<u8>>,
}

/// The header blocks among frames, also those that no server takes.
pub fn blocks(mut frames: &[u8]) -> Vec<Vec<u8>> {
    let (mut blocks, mut is_open) = (Vec::<Vec<u8>>::new(), false);
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = frames {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some((content, after)) = rest.split_at_checked(length) else { break };
        match (*kind, blocks.last_mut()) {
            (CONTINUATION, Some(block)) if is_open => {
                block.extend(content);
                is_open = flags & END_HEADERS == 0;
            }
            (HEADERS, _) => {
                blocks.push(unpadded(content, *flags).unwrap_or_default().to_vec());
                is_open = flags & END_HEADERS == 0;
            }
            _ => {}
        }
        frames = after;
    }
    blocks
}

fn unpadded(content: &[u8], flags: u8) -> Option<&[u8]> {
    let (padding, content) = if flags & PADDED == 0 {
        (0, content)
    } else {
        let (padding, content) = content.split_first()?;
        (usize::from(*padding), content)
    };
    let content = content.get(..content.len().checked_sub(padding)?)?;
    content.get(if flags & PRIORITY == 0 { 0 } else { 5 }..)
}

impl Written {
    /// Reads a block, unless it is compressed.
    pub fn read(mut block: &[u8]) -> Option<Self> {
        let mut written = Self::default();
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
            match name.as_slice() {
                b":method" => written.method = value,
                b":path" => written.path = Some(value),
                b":authority" => written.authority = Some(value),
                b"host" => written.hosts.push(value),
                _ => {}
            }
        }
        Some(written)
    }
}

/// Of the static table, what is looked for here. Of the dynamic one, nothing.
fn fixed(index: usize) -> Option<(&'static [u8], &'static [u8])> {
    Some(match index {
        1 => (b":authority", b""),
        2 => (b":method", b"GET"),
        3 => (b":method", b"POST"),
        4 => (b":path", b"/"),
        5 => (b":path", b"/index.html"),
        38 => (b"host", b""),
        6..=61 => (b"other", b""),
        _ => return None,
    })
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
