//! A plain reading of a WebSocket's frames (RFC 6455 §5.2), masked or not.

/// What was read until something ended it.
#[derive(Debug, Default)]
pub struct Frames {
    /// Whether it is text, and what it says.
    pub messages: Vec<(bool, Vec<u8>)>,
    /// What control frames carry.
    pub controls: Vec<Vec<u8>>,
}

impl Frames {
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut read = Self::default();
        let mut begun: Option<(bool, Vec<u8>)> = None;
        while let Some((first, content)) = frame(&mut bytes) {
            let is_last = first & 0x80 != 0;
            match (first & 0x7f, begun.as_mut()) {
                (kind @ (1 | 2), None) => begun = Some((kind == 1, content)),
                (0, Some((_, message))) => message.extend(content),
                (kind @ 8..=10, _) => {
                    read.controls.push(content);
                    if kind == 8 {
                        break;
                    }
                    continue;
                }
                _ => break,
            }
            if is_last {
                read.messages.extend(begun.take());
            }
        }
        read
    }
}

/// The first byte of a frame and its content, if it is there whole.
fn frame(bytes: &mut &[u8]) -> Option<(u8, Vec<u8>)> {
    let [first, second, rest @ ..] = *bytes else { return None };
    let (length, rest) = match second & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length), rest)
        }
        short => (u64::from(short), rest),
    };
    let (mask, rest) = if second & 0x80 == 0 {
        ([0; 4], rest)
    } else {
        let (mask, rest) = rest.split_first_chunk::<4>()?;
        (*mask, rest)
    };
    let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some((*first, content.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()))
}
