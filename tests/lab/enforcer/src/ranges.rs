//! Ranges of IPv4 addresses, sorted and disjoint: what nft takes as the elements of an interval set.

use std::{
    fmt::{self, Display},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;

/// Addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    first: u32,
    last: u32,
}

impl From<Ipv4Net> for Range {
    fn from(network: Ipv4Net) -> Self {
        Self { first: network.network().into(), last: network.broadcast().into() }
    }
}

impl From<Ipv4Addr> for Range {
    fn from(address: Ipv4Addr) -> Self {
        Self { first: address.into(), last: address.into() }
    }
}

impl Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (Ipv4Addr::from(self.first), Ipv4Addr::from(self.last));
        if first == last { write!(formatter, "{first}") } else { write!(formatter, "{first}-{last}") }
    }
}

/// The same addresses in as few ranges as possible.
pub(crate) fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for next in ranges {
        match merged.last_mut() {
            Some(range) if next.first <= range.last.saturating_add(1) => {
                range.last = range.last.max(next.last);
            }
            _ => merged.push(next),
        }
    }
    merged
}

/// The addresses of `ranges` that are not in `hole`.
pub(crate) fn without(ranges: Vec<Range>, hole: Range) -> Vec<Range> {
    let pieces = ranges.into_iter().flat_map(|Range { first, last }| {
        let below = (first < hole.first).then(|| Range { first, last: last.min(hole.first - 1) });
        let above = (last > hole.last).then(|| Range { first: first.max(hole.last + 1), last });
        below.into_iter().chain(above)
    });
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        text.parse::<Ipv4Net>().unwrap().into()
    }

    fn texts(ranges: &[Range]) -> Vec<String> {
        ranges.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn overlapping_and_adjacent_ranges_become_one() {
        for (ranges, expected) in [
            (vec!["10.0.0.1/32", "10.0.0.0/32"], vec!["10.0.0.0-10.0.0.1"]),
            (vec!["10.0.0.0/8", "10.1.0.0/16"], vec!["10.0.0.0-10.255.255.255"]),
            (vec!["10.0.0.0/32", "10.0.0.2/32"], vec!["10.0.0.0", "10.0.0.2"]),
            (vec!["0.0.0.0/0", "255.255.255.255/32"], vec!["0.0.0.0-255.255.255.255"]),
            (vec![], vec![]),
        ] {
            assert_eq!(
                texts(&merged(ranges.iter().map(|text| range(text)).collect())),
                expected,
                "{ranges:?}"
            );
        }
    }

    #[test]
    fn a_hole_may_be_anywhere() {
        for (hole, expected) in [
            ("10.0.0.0/8", vec![]),
            ("0.0.0.0/0", vec![]),
            ("10.0.0.0/9", vec!["10.128.0.0-10.255.255.255"]),
            ("10.128.0.0/9", vec!["10.0.0.0-10.127.255.255"]),
            ("10.0.1.0/24", vec!["10.0.0.0-10.0.0.255", "10.0.2.0-10.255.255.255"]),
            ("11.0.0.0/8", vec!["10.0.0.0-10.255.255.255"]),
        ] {
            assert_eq!(texts(&without(vec![range("10.0.0.0/8")], range(hole))), expected, "{hole}");
        }
    }
}
