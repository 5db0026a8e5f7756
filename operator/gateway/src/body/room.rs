//! Room for the bodies that have to be there before they are decided on, for all workspaces together.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Bytes that a permit stands for.
const UNIT: u64 = 16 << 10;
/// How long a body waits for others to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Clones share it.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

/// Room for one body.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A body that gives its place back when nobody needs it any more.
struct Placed {
    bytes: Bytes,
    _place: Place,
}

impl Room {
    /// Room for this many bytes.
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / usize::try_from(UNIT).unwrap_or(1))))
    }

    /// A place for a body of this many bytes, unless there is none for longer than it may wait.
    pub async fn take(&self, bytes: u64) -> Option<Place> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        let permit = timeout(PATIENCE, self.0.clone().acquire_many_owned(units)).await;
        Some(Place { _permit: permit.ok()?.ok()? })
    }
}

impl Place {
    /// The bytes, which keep the place until they are dropped.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Placed { bytes, _place: self })
    }
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_room_and_leaves_it_when_it_is_gone() {
        let room = Room::of(64 << 10);
        let first = room.take(40 << 10).await.unwrap().hold(Bytes::from_static(b"body"));
        assert_eq!(first, "body");
        let copy = first.clone();
        assert!(room.take(40 << 10).await.is_none(), "there is none");
        drop(first);
        assert!(room.take(40 << 10).await.is_none(), "a copy is one too");
        drop(copy);
        assert!(room.take(64 << 10).await.is_some());
        assert!(room.take(u64::MAX).await.is_none());
    }
}
