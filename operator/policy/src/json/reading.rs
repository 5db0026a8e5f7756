//! One reading of a document: it is walked once, beside the places that a rule names, and nothing of it is kept.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::{Demand, Found, JsonRule, Offence, Place, Step, folded};

/// Values and keys of a document that is looked into: reading more takes longer than anybody else should wait.
pub(super) const MOST_PARTS: usize = 1 << 20;
/// Keys of the objects in which a document is read at one time: each of them is remembered.
const MOST_KEYS: usize = 1 << 17;

/// Judges a document.
pub(super) fn judge(rule: &JsonRule, body: &[u8]) -> Result<(), Offence> {
    let mut reading = Reading::of(rule);
    let begin = reading.everywhere();
    let mut document = serde_json::Deserializer::from_slice(body);
    let read = Node { reading: &mut reading, at: &begin }.deserialize(&mut document);
    if read.and_then(|()| document.end()).is_err() {
        return Err(if reading.is_too_large { Offence::TooManyParts } else { Offence::Ambiguous });
    }
    reading.verdict()
}

/// A document that is being read, in which no object has a key twice: parsers differ in which of them counts (RFC 8259, section 4).
struct Reading<'a> {
    /// Each with whether what is demanded of it was seen to hold: for a required one that it is there, for the others that
    /// nothing is there which must not be.
    places: Vec<(&'a Place, Demand<'a>, bool)>,
    hashes: RandomState,
    /// Values and keys so far.
    parts: usize,
    /// Keys of the objects that are not at their end.
    keys: usize,
    is_too_large: bool,
}

/// How far a place is followed: its index, and the next of its steps.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    place: usize,
    step: usize,
}

impl<'a> Reading<'a> {
    fn of(rule: &'a JsonRule) -> Self {
        let places =
            rule.places().map(|(place, demand)| (place, demand, !matches!(demand, Demand::Required)));
        Self { places: places.collect(), hashes: RandomState::new(), parts: 0, keys: 0, is_too_large: false }
    }

    /// All places from their first step.
    fn everywhere(&self) -> Vec<Cursor> {
        (0..self.places.len()).map(|place| Cursor { place, step: 0 }).collect()
    }

    fn verdict(&self) -> Result<(), Offence> {
        let Some((place, demand, _)) = self.places.iter().find(|(.., holds)| !holds) else { return Ok(()) };
        let written = place.written.clone();
        Err(match demand {
            Demand::Required => Offence::Missing(written),
            Demand::Forbidden => Offence::Forbidden(written),
            Demand::OneOf(_) => Offence::Value(written),
        })
    }

    fn is_required(&self, cursor: Cursor) -> bool {
        matches!(self.places.get(cursor.place), Some((_, Demand::Required, _)))
    }

    fn step(&self, cursor: Cursor) -> Option<&'a Step> {
        self.places.get(cursor.place)?.0.steps.get(cursor.step)
    }

    /// A value stands where a place leads.
    fn found(&mut self, cursor: Cursor, value: Found<'_>) {
        let Some((_, demand, holds)) = self.places.get_mut(cursor.place) else { return };
        match demand {
            Demand::Required => *holds = true,
            Demand::Forbidden => *holds = false,
            Demand::OneOf(texts) => *holds &= texts.iter().any(|text| text.matches(value)),
        }
    }

    /// Goes on with what is no list: some servers take one where they expect a list of them. What is left are the places that lead
    /// into it.
    fn single(&mut self, at: &[Cursor], value: Found<'_>) -> Vec<Cursor> {
        let mut into = Vec::new();
        for mut cursor in at.iter().copied() {
            while matches!(self.step(cursor), Some(Step::Each)) {
                cursor.step += 1;
            }
            match self.step(cursor) {
                Some(_) => into.push(cursor),
                None => self.found(cursor, value),
            }
        }
        into
    }

    fn count<E: Error>(&mut self) -> Result<(), E> {
        self.parts += 1;
        self.is_too_large |= self.parts > MOST_PARTS || self.keys > MOST_KEYS;
        if self.is_too_large { Err(E::custom("too many parts")) } else { Ok(()) }
    }

    fn hash(&self, key: &str) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        folded(key).for_each(|letter| hasher.write_u32(letter.into()));
        hasher.finish()
    }
}

/// A value, and the places that lead to it.
struct Node<'r, 'a> {
    reading: &'r mut Reading<'a>,
    at: &'r [Cursor],
}

impl Node<'_, '_> {
    fn scalar<E: Error>(self, value: Found<'_>) -> Result<(), E> {
        self.reading.count()?;
        self.reading.single(self.at, value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated keys")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(Found::Bool(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.scalar(Found::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.scalar(Found::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.scalar(Found::Other)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(Found::Text(value))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(Found::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.reading.count()?;
        let mut each = Vec::new();
        for cursor in self.at.iter().copied() {
            match self.reading.step(cursor) {
                Some(Step::Each) => each.push(Cursor { step: cursor.step + 1, ..cursor }),
                // Some servers take lists within lists for one.
                Some(Step::Key(_)) if !self.reading.is_required(cursor) => each.push(cursor),
                Some(Step::Key(_)) => (),
                None => self.reading.found(cursor, Found::Other),
            }
        }
        while elements.next_element_seed(Node { reading: &mut *self.reading, at: &each })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.reading.count()?;
        let into = self.reading.single(self.at, Found::Other);
        let mut keys = HashSet::new();
        while let Some(at) =
            members.next_key_seed(Key { reading: &mut *self.reading, into: &into, keys: &mut keys })?
        {
            members.next_value_seed(Node { reading: &mut *self.reading, at: &at })?;
        }
        self.reading.keys -= keys.len();
        Ok(())
    }
}

/// A key of an object, and the places that lead into the object.
struct Key<'r, 'a> {
    reading: &'r mut Reading<'a>,
    into: &'r [Cursor],
    /// What the object's keys are known by: where two were taken for one, it would be denied.
    keys: &'r mut HashSet<u64>,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = Vec<Cursor>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Cursor>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = Vec<Cursor>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    /// The places that lead to its value.
    fn visit_str<E: Error>(self, key: &str) -> Result<Vec<Cursor>, E> {
        self.reading.count()?;
        if !self.keys.insert(self.reading.hash(key)) {
            return Err(E::custom("a key is there twice"));
        }
        self.reading.keys += 1;
        let leads = |cursor: &&Cursor| matches!(self.reading.step(**cursor), Some(Step::Key(name)) if folded(key).eq(name.chars()));
        let next = |cursor: &Cursor| Cursor { step: cursor.step + 1, ..*cursor };
        Ok(self.into.iter().filter(leads).map(next).collect())
    }
}
