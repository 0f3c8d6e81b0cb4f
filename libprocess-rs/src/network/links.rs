//! Who watches whom.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;

use indexmap::IndexSet;

use crate::Upid;

/// The links of one runtime: from its own actors to actors anywhere.
///
/// The order of the sets depends on what was done to them alone, so that those who are told of an exit are told in the same order
/// in each run.
#[derive(Default)]
pub(crate) struct Links {
    /// Linkers by linkee; a linkee of another runtime is also in `remote`.
    linkers: HashMap<Upid, IndexSet<Upid>>,
    linkees: HashMap<Upid, IndexSet<Upid>>,
    remote: HashMap<SocketAddr, IndexSet<Upid>>,
}

/// An exited event to be delivered: the linker and the linkee.
pub(crate) type Exit = (Upid, Upid);

impl Links {
    pub(crate) fn add(&mut self, linker: &Upid, linkee: &Upid, remote: bool) {
        insert(&mut self.linkers, linkee.clone(), linker.clone());
        insert(&mut self.linkees, linker.clone(), linkee.clone());
        if remote {
            insert(&mut self.remote, linkee.address(), linkee.clone());
        }
    }

    /// The linkee has ended: its links are gone and every linker is to be told.
    pub(crate) fn linkee_ended(&mut self, linkee: &Upid) -> Vec<Exit> {
        let linkers = self.linkers.remove(linkee).unwrap_or_default();
        discard(&mut self.remote, &linkee.address(), linkee);
        linkers
            .into_iter()
            .map(|linker| {
                discard(&mut self.linkees, &linker, linkee);
                (linker, linkee.clone())
            })
            .collect()
    }

    /// The connection to a runtime broke: all linkees there count as ended.
    pub(crate) fn address_lost(&mut self, address: SocketAddr) -> Vec<Exit> {
        let linkees = self.remote.remove(&address).unwrap_or_default();
        linkees
            .iter()
            .flat_map(|linkee| self.linkee_ended(linkee))
            .collect()
    }

    /// The linker has ended: nobody is to be told.
    pub(crate) fn linker_ended(&mut self, linker: &Upid) {
        for linkee in self.linkees.remove(linker).unwrap_or_default() {
            if let Some(linkers) = self.linkers.get_mut(&linkee) {
                linkers.swap_remove(linker);
                if linkers.is_empty() {
                    self.linkers.remove(&linkee);
                    discard(&mut self.remote, &linkee.address(), &linkee);
                }
            }
        }
    }
}

fn insert<K: Eq + Hash, V: Eq + Hash>(map: &mut HashMap<K, IndexSet<V>>, key: K, value: V) {
    map.entry(key).or_default().insert(value);
}

fn discard<K: Eq + Hash, V: Eq + Hash>(map: &mut HashMap<K, IndexSet<V>>, key: &K, value: &V) {
    if let Some(values) = map.get_mut(key) {
        values.swap_remove(value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upid(text: &str) -> Upid {
        text.parse().unwrap()
    }

    fn told(exits: Vec<Exit>) -> Vec<String> {
        let mut told: Vec<String> = exits
            .into_iter()
            .map(|(linker, linkee)| format!("{} <- {linkee}", linker.id()))
            .collect();
        told.sort();
        told
    }

    #[test]
    fn each_linker_is_told_once() {
        let mut links = Links::default();
        let (a, b) = (upid("a@1.2.3.4:4"), upid("b@1.2.3.4:4"));
        let linkee = upid("x@1.2.3.4:5");
        links.add(&a, &linkee, false);
        links.add(&a, &linkee, false);
        links.add(&b, &linkee, false);
        let both = ["a <- x@1.2.3.4:5", "b <- x@1.2.3.4:5"];
        assert_eq!(told(links.linkee_ended(&linkee)), both);
        assert!(links.linkee_ended(&linkee).is_empty());
    }

    #[test]
    fn a_lost_address_takes_all_its_linkees() {
        let mut links = Links::default();
        let (a, b) = (upid("a@1.2.3.4:4"), upid("b@1.2.3.4:4"));
        links.add(&a, &upid("x@1.2.3.4:5"), true);
        links.add(&a, &upid("y@1.2.3.4:5"), true);
        links.add(&b, &upid("y@1.2.3.4:5"), true);
        links.add(&b, &upid("z@1.2.3.4:6"), true);
        links.linker_ended(&b);
        let lost = links.address_lost(upid("x@1.2.3.4:5").address());
        assert_eq!(told(lost), ["a <- x@1.2.3.4:5", "a <- y@1.2.3.4:5"]);
        assert!(links.linkers.is_empty());
        assert!(links.linkees.is_empty());
        assert!(links.remote.is_empty());
    }
}
