//! A map that keeps its entries in the order in which they came. A Dockerfile may set a hundred thousand variables.

use std::collections::HashMap;

/// Values by name.
#[derive(Debug, Clone)]
pub(super) struct Ordered<V> {
    entries: Vec<(String, V)>,
    places: HashMap<String, usize>,
}

impl<V> Default for Ordered<V> {
    fn default() -> Ordered<V> {
        Ordered { entries: Vec::new(), places: HashMap::new() }
    }
}

impl<V> Ordered<V> {
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.places.get(name).and_then(|place| self.entries.get(*place)).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Sets a value, in place if there is one of that name; the one that was there.
    pub(super) fn insert(&mut self, name: String, value: V) -> Option<V> {
        if let Some((_, known)) = self.places.get(&name).and_then(|place| self.entries.get_mut(*place)) {
            return Some(std::mem::replace(known, value));
        }
        self.places.insert(name.clone(), self.entries.len());
        self.entries.push((name, value));
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &V)> {
        self.entries.iter().map(|(name, value)| (name, value))
    }
}
