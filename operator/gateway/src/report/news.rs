//! What a workspace was denied for the first time. Pure.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use ws_api::reason::Reason;

/// Denied hosts of one workspace, each with a reason, that are news. They are as many as a program is listened to that tries ever
/// more names.
const MOST: usize = 64;

/// The denials that were news, as their hashes: hosts are hostile and long.
#[derive(Debug, Default)]
pub struct News {
    known: HashSet<u64>,
    hashes: RandomState,
}

impl News {
    /// Whether this is denied for the first time.
    pub fn is_first(&mut self, host: &str, reason: Reason) -> bool {
        self.known.len() < MOST && self.known.insert(self.hashes.hash_one((host, reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_news_once_for_each_reason_and_not_without_end() {
        let mut news = News::default();
        for (host, reason, expected) in [
            ("a.example", Reason::HostNotAllowed, true),
            ("a.example", Reason::HostNotAllowed, false),
            ("a.example", Reason::OverBudget, true),
            ("b.example", Reason::HostNotAllowed, true),
        ] {
            assert_eq!(news.is_first(host, reason), expected, "{host} {reason:?}");
        }
        let flood = (0..1_000).filter(|n| news.is_first(&format!("{n}.example"), Reason::HostNotAllowed));
        assert_eq!(flood.count(), MOST - 3);
    }
}
