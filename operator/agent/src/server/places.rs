//! Places for connections. Code in the workspace can open as many connections as it likes, and must not lock its user out: who
//! has not logged in gives way to who comes later.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio_util::sync::CancellationToken;

use crate::lock::lock;

/// A bounded number of places.
#[derive(Debug)]
pub struct Places {
    most: usize,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    /// By age, the oldest first.
    by_number: BTreeMap<u64, Guest>,
    last: u64,
}

#[derive(Debug)]
enum Guest {
    /// Has not logged in; the token cuts the connection.
    Stranger(CancellationToken),
    User,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
#[must_use = "the connection is counted only while this lives"]
pub struct Place {
    places: Arc<Places>,
    number: u64,
}

impl Places {
    pub fn new(most: usize) -> Self {
        Self { most, guests: Mutex::default() }
    }

    /// A place for a connection that `cut` ends. If all are taken, the oldest stranger is cut; `None` if there is none.
    pub fn enter(self: &Arc<Self>, cut: CancellationToken) -> Option<Place> {
        let mut guests = lock(&self.guests);
        if guests.by_number.len() >= self.most {
            guests.cut_oldest_stranger()?;
        }
        guests.last += 1;
        let number = guests.last;
        guests.by_number.insert(number, Guest::Stranger(cut));
        drop(guests);
        Some(Place { places: Arc::clone(self), number })
    }
}

impl Guests {
    fn cut_oldest_stranger(&mut self) -> Option<()> {
        let (number, cut) = self.by_number.iter().find_map(|(number, guest)| match guest {
            Guest::Stranger(cut) => Some((*number, cut.clone())),
            Guest::User => None,
        })?;
        cut.cancel();
        self.by_number.remove(&number).map(drop)
    }
}

impl Place {
    /// Makes it the place of somebody who has logged in, and gives way to nobody.
    pub fn keep(&self) {
        if let Some(guest) = lock(&self.places.guests).by_number.get_mut(&self.number) {
            *guest = Guest::User;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.guests).by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_give_way_in_their_order_and_users_to_nobody() {
        let places = Arc::new(Places::new(3));
        let cuts: Vec<_> = (0..6).map(|_| CancellationToken::new()).collect();
        let enter = |number: usize| places.enter(cuts[number].clone());
        let cut = || cuts.iter().map(CancellationToken::is_cancelled).collect::<Vec<_>>();
        let user = enter(0).unwrap();
        user.keep();
        let strangers = [enter(1).unwrap(), enter(2).unwrap()];
        let third = enter(3).unwrap();
        assert_eq!(cut(), [false, true, false, false, false, false]);
        third.keep();
        let fourth = enter(4).unwrap();
        assert_eq!(cut(), [false, true, true, false, false, false]);
        fourth.keep();
        drop(strangers);
        assert!(enter(5).is_none(), "users have all places, and who was cut leaves none behind");
        drop(user);
        assert!(enter(5).is_some());
    }
}
