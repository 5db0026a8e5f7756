//! The list of everything in a tree.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::io::Read;

use crate::digest::Digest;
use crate::entry::Entry;
use crate::limits::{Limits, Meter, target_bytes};
use crate::path::TreePath;
use crate::wire::WireError;
use crate::wire::primitive::{
    put_bytes, put_entry, put_number, take_array, take_entry, take_number, take_path,
};

/// Everything in a tree, by path.
///
/// Two trees with the same manifest have the same folders, links, contents and executable bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest(BTreeMap<TreePath, Entry>);

impl Manifest {
    const MAGIC: [u8; 8] = *b"wsmanif\x01";

    /// What stands at a path.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.0.get(path)
    }

    /// Whether the tree has a path.
    pub fn contains(&self, path: &TreePath) -> bool {
        self.0.contains_key(path)
    }

    /// Everything in the tree, folders before what is in them.
    pub fn iter(&self) -> btree_map::Iter<'_, TreePath, Entry> {
        self.0.iter()
    }

    /// How many paths the tree has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the tree has nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the tree has something inside `directory`.
    pub fn has_inside(&self, directory: &TreePath) -> bool {
        let mut first = directory.as_bytes().to_vec();
        first.push(b'/');
        let mut after = self
            .0
            .range::<[u8], _>((std::ops::Bound::Excluded(first.as_slice()), std::ops::Bound::Unbounded));
        after.next().is_some_and(|(path, _)| path.is_inside(directory))
    }

    /// Bytes of content in all files together.
    pub fn content_bytes(&self) -> u64 {
        let sizes = self.0.values().map(|entry| match entry {
            Entry::File(file) => file.size,
            Entry::Directory | Entry::Symlink(_) => 0,
        });
        sizes.fold(0, u64::saturating_add)
    }

    /// Adds a path that is not in the tree; gives the entry back if it is.
    pub fn insert(&mut self, path: TreePath, entry: Entry) -> Result<(), Entry> {
        match self.0.entry(path) {
            btree_map::Entry::Occupied(_) => Err(entry),
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
                Ok(())
            }
        }
    }

    /// The manifest as bytes: sorted, so that equal trees have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Self::MAGIC.to_vec();
        put_number(&mut bytes, self.0.len() as u64);
        for (path, entry) in &self.0 {
            put_bytes(&mut bytes, path.as_bytes());
            put_entry(&mut bytes, entry);
        }
        bytes
    }

    /// Reads what [`Manifest::encode`] wrote; order and uniqueness are checked.
    pub fn decode(mut input: impl Read, limits: &Limits) -> Result<Self, WireError> {
        if take_array(&mut input)? != Self::MAGIC {
            return Err(WireError::Version);
        }
        let count = take_number(&mut input)?;
        let mut meter = Meter::new(Limits { bytes: u64::MAX, ..*limits });
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let path = take_path(&mut input)?;
            let entry = take_entry(&mut input)?;
            meter
                .admit(&path, target_bytes(Some(&entry)), 0)
                .map_err(|_| WireError::Malformed("the manifest is too large"))?;
            if entries.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(WireError::Malformed("the manifest is not sorted"));
            }
            entries.insert(path, entry);
        }
        Ok(Self(entries))
    }

    /// The digest of [`Manifest::encode`].
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }
}

impl<'a> IntoIterator for &'a Manifest {
    type Item = (&'a TreePath, &'a Entry);
    type IntoIter = btree_map::Iter<'a, TreePath, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<(TreePath, Entry)> for Manifest {
    /// Of several entries for one path the last one stays.
    fn from_iter<I: IntoIterator<Item = (TreePath, Entry)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{FileEntry, Target};

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn sample() -> Manifest {
        let file = FileEntry { executable: true, size: 3, digest: Digest::of(b"abc") };
        [
            (path("d"), Entry::Directory),
            (path("d/f"), Entry::File(file)),
            (path("l"), Entry::Symlink(Target::parse(b"d/f").unwrap())),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn a_manifest_survives_its_encoding_and_no_part_of_it_does() {
        let bytes = sample().encode();
        assert_eq!(Manifest::decode(bytes.as_slice(), &Limits::PROJECT).unwrap(), sample());
        for end in 0..bytes.len() {
            assert!(matches!(Manifest::decode(&bytes[..end], &Limits::PROJECT), Err(WireError::Truncated)));
        }
    }

    #[test]
    fn an_unsorted_or_oversized_manifest_is_refused() {
        let mut twice = Manifest::MAGIC.to_vec();
        put_number(&mut twice, 2);
        for _ in 0..2 {
            put_bytes(&mut twice, b"a");
            put_entry(&mut twice, &Entry::Directory);
        }
        assert!(matches!(Manifest::decode(twice.as_slice(), &Limits::PROJECT), Err(WireError::Malformed(_))));
        let few = Limits { entries: 2, ..Limits::PROJECT };
        assert!(matches!(Manifest::decode(sample().encode().as_slice(), &few), Err(WireError::Malformed(_))));
    }

    #[test]
    fn a_folder_knows_whether_something_is_in_it() {
        let manifest: Manifest =
            [(path("a-b"), Entry::Directory), (path("a/x"), Entry::Directory)].into_iter().collect();
        assert!(manifest.has_inside(&path("a")));
        assert!(!manifest.has_inside(&path("a-b")));
        assert!(!manifest.has_inside(&path("a/x")));
    }
}
