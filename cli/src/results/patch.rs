//! One change as git writes it: for `git apply`, or escaped for a screen.

use std::io::{self, Write};

use ws_tree::Escaped;

use super::{
    binary::{blob_name, write_literal},
    git_path::quoted,
    hunks::{Hunk, hunks},
    sides::{Content, Mode, Side},
};

/// Who reads the patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// `git apply`: every byte as it is.
    Git,
    /// A person at a terminal: nothing but visible text, and no binary content.
    Screen,
}

/// Writes what turns `old` into `new` at `path`.
pub fn write(
    out: &mut dyn Write,
    reader: Reader,
    path: &[u8],
    old: Option<&Side<'_>>,
    new: Option<&Side<'_>>,
) -> io::Result<()> {
    match (old, new) {
        // Git knows no change from a file to a link, only the end of one and the beginning of the other.
        (Some(before), Some(after)) if (before.mode == Mode::Link) != (after.mode == Mode::Link) => {
            write(out, reader, path, old, None)?;
            write(out, reader, path, None, new)
        }
        _ => Writer { out, reader, path }.write(old, new),
    }
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    reader: Reader,
    path: &'a [u8],
}

impl Writer<'_> {
    fn write(&mut self, old: Option<&Side<'_>>, new: Option<&Side<'_>>) -> io::Result<()> {
        let (from, to) = (self.name("a/"), self.name("b/"));
        self.line(&[b"diff --git ", &from, b" ", &to])?;
        match (old.map(|side| side.mode), new.map(|side| side.mode)) {
            (None, Some(mode)) => self.line(&[b"new file mode ", mode.git().as_bytes()])?,
            (Some(mode), None) => self.line(&[b"deleted file mode ", mode.git().as_bytes()])?,
            (Some(before), Some(after)) if before != after => {
                self.line(&[b"old mode ", before.git().as_bytes()])?;
                self.line(&[b"new mode ", after.git().as_bytes()])?;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let nothing = Content::Short(Vec::new());
        let (before, after) = (old.map(|side| &side.content), new.map(|side| &side.content));
        if before.unwrap_or(&nothing).same(after.unwrap_or(&nothing))? {
            return Ok(());
        }
        match (before.unwrap_or(&nothing).text(), after.unwrap_or(&nothing).text()) {
            (Some(before), Some(after)) => {
                let from = if old.is_some() { terminated(from) } else { b"/dev/null".to_vec() };
                let to = if new.is_some() { terminated(to) } else { b"/dev/null".to_vec() };
                self.line(&[b"--- ", &from])?;
                self.line(&[b"+++ ", &to])?;
                hunks(before, after).iter().try_for_each(|hunk| self.hunk(hunk))
            }
            _ => self.binary(before, after),
        }
    }

    fn name(&self, prefix: &str) -> Vec<u8> {
        match self.reader {
            Reader::Git => quoted(prefix, self.path),
            Reader::Screen => format!("{prefix}{}", Escaped::name(self.path)).into_bytes(),
        }
    }

    fn line(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        parts.iter().chain([&&b"\n"[..]]).try_for_each(|part| self.out.write_all(part))
    }

    fn hunk(&mut self, hunk: &Hunk<'_>) -> io::Result<()> {
        let header = format!("@@ -{} +{} @@", range(hunk.old), range(hunk.new));
        self.line(&[header.as_bytes()])?;
        for (sign, line) in &hunk.lines {
            let (text, complete) = match line.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (*line, false),
            };
            match self.reader {
                Reader::Git => self.line(&[&[sign.byte()], text])?,
                Reader::Screen => {
                    self.line(&[&[sign.byte()], Escaped::line(text).to_string().as_bytes()])?;
                }
            }
            if !complete {
                self.line(&[b"\\ No newline at end of file"])?;
            }
        }
        Ok(())
    }

    fn binary(&mut self, before: Option<&Content<'_>>, after: Option<&Content<'_>>) -> io::Result<()> {
        match self.reader {
            Reader::Git => {
                let names = format!("index {}..{}", blob_name(before)?, blob_name(after)?);
                self.line(&[names.as_bytes()])?;
                self.line(&[b"GIT binary patch"])?;
                write_literal(self.out, after)?;
                // Backwards, for `git apply --reverse`, but not at any price.
                if !matches!(before, Some(Content::Long(_))) {
                    write_literal(self.out, before)?;
                }
                Ok(())
            }
            Reader::Screen => {
                let size = |content: Option<&Content<'_>>| content.map_or(0, Content::size);
                let is_long = |content: Option<&Content<'_>>| matches!(content, Some(Content::Long(_)));
                let what = if is_long(before) || is_long(after) { "too large to show" } else { "binary" };
                let sizes = format!("{what}: {} bytes before, {} now", size(before), size(after));
                self.line(&[sizes.as_bytes()])
            }
        }
    }
}

/// A name with a space ends at a tab, or it would end at the space.
fn terminated(mut name: Vec<u8>) -> Vec<u8> {
    if name.contains(&b' ') && !name.starts_with(b"\"") {
        name.push(b'\t');
    }
    name
}

fn range((start, length): (usize, usize)) -> String {
    match length {
        // An empty range stands after the line that it names.
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{length}", start + 1),
    }
}
