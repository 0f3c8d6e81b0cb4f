//! Dense storage of things that have an id, under small integer keys.
//!
//! Inside the allocator everything refers to frameworks, agents and roles by key: copying,
//! comparing and hashing a key is one instruction, while ids are texts.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::marker::PhantomData;

/// The key of a `T`.
pub(super) struct Key<T>(u32, PhantomData<fn() -> T>);

impl<T> Key<T> {
    fn new(index: usize) -> Key<T> {
        // Slots are created one by one for things that come over the network; 2^32 of them would
        // exhaust memory long before.
        Key(u32::try_from(index).unwrap_or(u32::MAX), PhantomData)
    }

    fn index(self) -> usize {
        self.0 as usize
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Key<T> {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Key<T>) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Key<T> {}

impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Key<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Key<T>) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.0);
    }
}

impl<T> std::fmt::Debug for Key<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "#{}", self.0)
    }
}

/// Hashes keys by multiplication. Nobody outside chooses them, so that nobody can make them
/// collide.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        // 2^64 divided by the golden ratio spreads consecutive keys over the whole range.
        self.0 = (self.0.rotate_left(26) ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map whose keys are [`Key`]s or tuples of them.
pub(super) type KeyMap<K, V> = HashMap<K, V, BuildHasherDefault<KeyHasher>>;

/// A set of [`Key`]s.
pub(super) type KeySet<K> = HashSet<K, BuildHasherDefault<KeyHasher>>;

/// Things by key and by id. The key of a removed thing is used again.
pub(super) struct Slots<Id, T> {
    /// Boxed, so that adding one never moves all of them.
    items: Vec<Option<Box<(Id, T)>>>,
    free: Vec<Key<T>>,
    keys: HashMap<Id, Key<T>>,
}

impl<Id: Clone + Eq + Hash, T> Slots<Id, T> {
    pub(super) fn new() -> Slots<Id, T> {
        Slots {
            items: Vec::new(),
            free: Vec::new(),
            keys: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, id: &Id) -> Option<Key<T>> {
        self.keys.get(id).copied()
    }

    /// Adds a thing, in place of any other of the same id.
    pub(super) fn insert(&mut self, id: Id, item: T) -> Key<T> {
        let free = self.keys.get(&id).copied().or_else(|| self.free.pop());
        let key = free.unwrap_or_else(|| Key::new(self.items.len()));
        match self.items.get_mut(key.index()) {
            Some(slot) => *slot = Some(Box::new((id.clone(), item))),
            None => self.items.push(Some(Box::new((id.clone(), item)))),
        }
        self.keys.insert(id, key);
        key
    }

    pub(super) fn remove(&mut self, key: Key<T>) -> Option<(Id, T)> {
        let removed = self.items.get_mut(key.index())?.take()?;
        self.keys.remove(&removed.0);
        self.free.push(key);
        Some(*removed)
    }

    pub(super) fn get(&self, key: Key<T>) -> Option<&T> {
        let slot = self.items.get(key.index())?.as_ref()?;
        Some(&slot.1)
    }

    pub(super) fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let slot = self.items.get_mut(key.index())?.as_mut()?;
        Some(&mut slot.1)
    }

    pub(super) fn get_mut_with_id(&mut self, key: Key<T>) -> Option<(&Id, &mut T)> {
        let (id, item) = &mut **self.items.get_mut(key.index())?.as_mut()?;
        Some((id, item))
    }

    pub(super) fn id(&self, key: Key<T>) -> Option<&Id> {
        let slot = self.items.get(key.index())?.as_ref()?;
        Some(&slot.0)
    }

    /// All things, by ascending key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<T>, &Id, &T)> {
        self.items.iter().enumerate().filter_map(|(index, slot)| {
            let (id, item) = &**slot.as_ref()?;
            Some((Key::new(index), id, item))
        })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key<T>> {
        self.iter().map(|(key, _, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_reused() {
        let mut slots = Slots::<&str, i32>::new();
        let (a, b) = (slots.insert("a", 1), slots.insert("b", 2));
        assert_eq!(slots.remove(a), Some(("a", 1)));
        assert_eq!(
            (slots.get(a), slots.key(&"a"), slots.len()),
            (None, None, 1)
        );
        assert_eq!(slots.remove(a), None);
        let c = slots.insert("c", 3);
        assert_eq!(c, a);
        assert_eq!(slots.insert("b", 4), b);
        let all: Vec<_> = slots.iter().map(|(_, id, item)| (*id, *item)).collect();
        assert_eq!(all, [("c", 3), ("b", 4)]);
    }
}
