//! One change as git writes it: for `git apply`, or escaped for a screen.

use ws_tree::Escaped;

use super::{
    binary::{blob_name, write_literal},
    git_path::quoted,
    hunks::{Hunk, hunks, is_text},
    sides::{Mode, Side},
};

/// Who reads the patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// `git apply`: every byte as it is.
    Git,
    /// A person at a terminal: nothing but visible text, and no binary content.
    Screen,
}

/// Appends what turns `old` into `new` at `path`.
pub fn write(out: &mut Vec<u8>, reader: Reader, path: &[u8], old: Option<&Side>, new: Option<&Side>) {
    match (old, new) {
        // Git knows no change from a file to a link, only the end of one and the beginning of the other.
        (Some(before), Some(after)) if (before.mode == Mode::Link) != (after.mode == Mode::Link) => {
            write(out, reader, path, old, None);
            write(out, reader, path, None, new);
        }
        _ => Writer { out, reader, path }.write(old, new),
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    reader: Reader,
    path: &'a [u8],
}

impl Writer<'_> {
    fn write(&mut self, old: Option<&Side>, new: Option<&Side>) {
        let (from, to) = (self.name("a/"), self.name("b/"));
        self.line(&[b"diff --git ", &from, b" ", &to]);
        match (old.map(|side| side.mode), new.map(|side| side.mode)) {
            (None, Some(mode)) => self.line(&[b"new file mode ", mode.git().as_bytes()]),
            (Some(mode), None) => self.line(&[b"deleted file mode ", mode.git().as_bytes()]),
            (Some(before), Some(after)) if before != after => {
                self.line(&[b"old mode ", before.git().as_bytes()]);
                self.line(&[b"new mode ", after.git().as_bytes()]);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let (before, after) =
            (old.map(|side| side.content.as_slice()), new.map(|side| side.content.as_slice()));
        if before.unwrap_or_default() == after.unwrap_or_default() {
            return;
        }
        if [before, after].into_iter().flatten().all(is_text) {
            let from = if old.is_some() { terminated(from) } else { b"/dev/null".to_vec() };
            let to = if new.is_some() { terminated(to) } else { b"/dev/null".to_vec() };
            self.line(&[b"--- ", &from]);
            self.line(&[b"+++ ", &to]);
            for hunk in &hunks(before.unwrap_or_default(), after.unwrap_or_default()) {
                self.hunk(hunk);
            }
        } else {
            self.binary(before, after);
        }
    }

    fn name(&self, prefix: &str) -> Vec<u8> {
        match self.reader {
            Reader::Git => quoted(prefix, self.path),
            Reader::Screen => format!("{prefix}{}", Escaped::name(self.path)).into_bytes(),
        }
    }

    fn line(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.out.push(b'\n');
    }

    fn hunk(&mut self, hunk: &Hunk<'_>) {
        let header = format!("@@ -{} +{} @@", range(hunk.old), range(hunk.new));
        self.line(&[header.as_bytes()]);
        for (sign, line) in &hunk.lines {
            let (text, complete) = match line.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (*line, false),
            };
            match self.reader {
                Reader::Git => self.line(&[&[sign.byte()], text]),
                Reader::Screen => self.line(&[&[sign.byte()], Escaped::line(text).to_string().as_bytes()]),
            }
            if !complete {
                self.line(&[b"\\ No newline at end of file"]);
            }
        }
    }

    fn binary(&mut self, before: Option<&[u8]>, after: Option<&[u8]>) {
        match self.reader {
            Reader::Git => {
                let names = format!("index {}..{}", blob_name(before), blob_name(after));
                self.line(&[names.as_bytes()]);
                self.line(&[b"GIT binary patch"]);
                // Forwards, and backwards for `git apply --reverse`.
                write_literal(self.out, after.unwrap_or_default());
                write_literal(self.out, before.unwrap_or_default());
            }
            Reader::Screen => {
                let size = |content: Option<&[u8]>| content.map_or(0, <[u8]>::len);
                let sizes = format!("binary: {} bytes before, {} now", size(before), size(after));
                self.line(&[sizes.as_bytes()]);
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
