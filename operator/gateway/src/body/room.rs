//! Room for what has to be there whole before it goes on: bodies that are looked into, and messages of `WebSockets`. It is taken as
//! bytes come, and given back when they are gone: what was only announced takes nothing from others.
//!
//! Nobody waits in a row. Who waits tries again whenever some room was given back, so that what is small is not held up by what is
//! large. Of the room for all, a workspace holds at most half of what it leaves to others: alone it gets a third of all, and after
//! whoever takes all it gets, the next one gets a third of what is left.
//!
//! So memory is bounded. Beside what is in here there is, of each body and each way of a conversation, what was read last and has
//! no place yet, which a connection is reckoned to have. A buffer that grows may be larger than what is in it: what was never
//! written to is no memory, and one that is large moves without being copied.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, time::timeout};

/// Bytes that are taken at once.
const UNIT: usize = 16 << 10;
/// How long a body waits for others to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Room for all workspaces. Clones share it.
#[derive(Clone, Debug)]
pub struct Room(Arc<Units>);

/// Room for one workspace. Clones share it.
#[derive(Clone, Debug)]
pub struct OwnRoom(Arc<Own>);

#[derive(Debug)]
struct Own {
    units: Units,
    /// Units of the room for all that it holds; they change under that room's lock.
    held: AtomicUsize,
}

/// How many units are left.
#[derive(Debug)]
struct Units(watch::Sender<usize>);

/// Room for one body.
#[derive(Debug)]
pub struct BodyPermit {
    room: Room,
    own: OwnRoom,
    /// Units of the workspace's own room, for what has come and what was announced.
    announced: usize,
    /// Units of the room for all, for what has come.
    held: usize,
}

/// A body that gives its room back when nobody needs it any more.
struct Permitted {
    bytes: Bytes,
    _permit: BodyPermit,
}

impl Room {
    /// Room for this many bytes.
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Units::of(bytes)))
    }

    /// Room for a body of a workspace of which nothing has come.
    pub fn permit(&self, own: &OwnRoom) -> BodyPermit {
        BodyPermit { room: self.clone(), own: own.clone(), announced: 0, held: 0 }
    }

    /// Bytes that are left.
    #[cfg(test)]
    pub fn left(&self) -> usize {
        *self.0.0.borrow() * UNIT
    }
}

impl OwnRoom {
    /// Room for this many bytes.
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Own { units: Units::of(bytes), held: AtomicUsize::new(0) }))
    }
}

impl Units {
    fn of(bytes: usize) -> Self {
        Self(watch::Sender::new(bytes / UNIT))
    }

    /// Takes so many once they are there and may be taken, which is asked with what would be left; unless that takes longer than
    /// anybody may wait.
    async fn take(&self, units: usize, mut may: impl FnMut(usize) -> bool) -> Option<()> {
        let mut given_back = self.0.subscribe();
        let taken = async {
            while !self.try_take(units, &mut may) {
                given_back.changed().await.ok()?;
            }
            Some(())
        };
        timeout(PATIENCE, taken).await.ok()?
    }

    fn try_take(&self, units: usize, may: &mut impl FnMut(usize) -> bool) -> bool {
        let mut is_taken = false;
        self.0.send_if_modified(|free| {
            if let Some(left) = free.checked_sub(units).filter(|left| may(*left)) {
                (*free, is_taken) = (left, true);
            }
            // Nobody waits for less.
            false
        });
        is_taken
    }
}

impl BodyPermit {
    /// Takes room of the workspace's own for so many bytes in all that will come, so that its bodies wait for each other before they
    /// have begun. None: there is none for longer than a body may wait.
    pub async fn announce(&mut self, bytes: u64) -> Option<()> {
        let more = units(bytes).saturating_sub(self.announced);
        if more > 0 {
            self.own.0.units.take(more, |_| true).await?;
            self.announced += more;
        }
        Some(())
    }

    /// Takes room for so many bytes in all that have come.
    pub async fn grow(&mut self, bytes: u64) -> Option<()> {
        self.announce(bytes).await?;
        let more = units(bytes).saturating_sub(self.held);
        if more > 0 {
            let own = &self.own.0.held;
            let may = |left| {
                let held = own.load(Ordering::Relaxed) + more;
                let is_fair = held <= left / 2;
                if is_fair {
                    own.store(held, Ordering::Relaxed);
                }
                is_fair
            };
            self.room.0.take(more, may).await?;
            self.held += more;
        }
        Some(())
    }

    /// The bytes, which keep the room until they are dropped.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Permitted { bytes, _permit: self })
    }
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        let Self { room, own, announced, held } = self;
        room.0.0.send_modify(|left| {
            own.0.held.fetch_sub(*held, Ordering::Relaxed);
            *left += *held;
        });
        own.0.units.0.send_modify(|left| *left += *announced);
    }
}

impl AsRef<[u8]> for Permitted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// As many as so many bytes need; more than there are if they cannot be counted.
fn units(bytes: u64) -> usize {
    usize::try_from(bytes).map_or(usize::MAX, |bytes| bytes.div_ceil(UNIT))
}

#[cfg(test)]
mod tests;
