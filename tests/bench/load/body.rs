//! A body of zeros.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

const PIECE: &[u8] = &[0; 64 << 10];

/// So many zeros that are still to be sent.
pub(super) struct Zeros(pub(super) u64);

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = usize::try_from(self.0).unwrap_or(usize::MAX).min(PIECE.len());
        if length == 0 {
            return Poll::Ready(None);
        }
        self.0 -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE.get(..length).unwrap_or_default())))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
