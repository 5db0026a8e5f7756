//! Room for the bodies that have to be there before they are decided on: for all workspaces together, and for each of them.

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
    own: OwnedSemaphorePermit,
    shared: OwnedSemaphorePermit,
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

    /// A place for a body of this many bytes in a workspace's `own` room and in this one, unless there is none for longer than it
    /// may wait. It waits among its own first, where nobody else waits behind it.
    pub async fn take(&self, own: &Self, bytes: u64) -> Option<Place> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        let permits = async {
            let own = own.0.clone().acquire_many_owned(units).await.ok()?;
            Some(Place { own, shared: self.0.clone().acquire_many_owned(units).await.ok()? })
        };
        timeout(PATIENCE, permits).await.ok()?
    }
}

impl Place {
    /// Makes it larger by another one.
    pub fn add(&mut self, more: Self) {
        self.own.merge(more.own);
        self.shared.merge(more.shared);
    }

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
        let (room, own) = (Room::of(64 << 10), || Room::of(64 << 10));
        let first = room.take(&own(), 40 << 10).await.unwrap().hold(Bytes::from_static(b"body"));
        assert_eq!(first, "body");
        let copy = first.clone();
        assert!(room.take(&own(), 40 << 10).await.is_none(), "there is none");
        drop(first);
        assert!(room.take(&own(), 40 << 10).await.is_none(), "a copy is one too");
        drop(copy);
        assert!(room.take(&own(), 64 << 10).await.is_some());
        assert!(room.take(&own(), u64::MAX).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn b25_who_fills_its_own_room_waits_for_itself_alone() {
        let (room, own, other) = (Room::of(96 << 10), Room::of(32 << 10), Room::of(32 << 10));
        let held = room.take(&own, 32 << 10).await.unwrap();
        let waiting: Vec<_> = (0..50).map(|_| Box::pin(room.take(&own, 32 << 10))).collect();
        let (waited, taken) = tokio::join!(futures::future::join_all(waiting), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            timeout(Duration::from_millis(1), room.take(&other, 32 << 10)).await
        });
        assert!(taken.is_ok_and(|place| place.is_some()), "others have theirs at once");
        assert!(waited.iter().all(Option::is_none));
        drop(held);
        assert!(room.take(&own, 32 << 10).await.is_some());
    }
}
