//! Records in compressed frames, and out of them.

use std::io::{self, BufReader, Read};

use super::{FileTrailer, Record, StreamKind, WireError};

/// Bytes read from the compressed side at a time, and decompressed ahead of the records.
const BUFFER: usize = 256 << 10;
/// Largest window a frame may ask for: 8 MiB, what RFC 8878 recommends that every decoder supports.
const WINDOW_LOG: u32 = 23;

/// Compresses pieces of a stream, each to a frame of its own, so that several threads can compress one stream.
pub(crate) struct FrameEncoder {
    compressor: zstd::bulk::Compressor<'static>,
    frame: Vec<u8>,
}

impl FrameEncoder {
    pub(crate) fn new(level: i32) -> io::Result<Self> {
        Ok(Self { compressor: zstd::bulk::Compressor::new(level)?, frame: Vec::new() })
    }

    /// The frame that holds `records`; valid until the next call.
    pub(crate) fn frame(&mut self, records: &[u8]) -> io::Result<&[u8]> {
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(records.len()));
        self.compressor.compress_to_buffer(records, &mut self.frame)?;
        Ok(&self.frame)
    }
}

/// Reads the records of a stream.
pub(crate) struct RecordReader<R: Read> {
    input: BufReader<zstd::Decoder<'static, BufReader<R>>>,
}

impl<R: Read> RecordReader<R> {
    /// Checks the start of a stream.
    pub(crate) fn new(mut input: R, kind: StreamKind) -> Result<Self, WireError> {
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if magic != kind.magic() {
            return Err(WireError::Version);
        }
        let mut decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER, input))?;
        decoder.window_log_max(WINDOW_LOG)?;
        Ok(Self { input: BufReader::with_capacity(BUFFER, decoder) })
    }

    /// The next record. After a file's, its content and trailer must be read first.
    pub(crate) fn next(&mut self) -> Result<Record, WireError> {
        Record::decode(&mut self.input)
    }

    /// Reads all of a small file's content.
    pub(crate) fn content(&mut self, size: usize) -> Result<Vec<u8>, WireError> {
        let mut content = Vec::with_capacity(size);
        let read = (&mut self.input).take(size as u64).read_to_end(&mut content)?;
        if read == size { Ok(content) } else { Err(WireError::Truncated) }
    }

    /// Passes a large file's content to `sink` in pieces.
    pub(crate) fn stream<E: From<WireError>>(
        &mut self,
        size: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; BUFFER];
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            self.input.read_exact(piece).map_err(WireError::from)?;
            sink(piece)?;
            left -= wanted as u64;
        }
        Ok(())
    }

    pub(crate) fn trailer(&mut self) -> Result<FileTrailer, WireError> {
        FileTrailer::decode(&mut self.input)
    }
}
