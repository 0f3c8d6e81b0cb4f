//! What distinguishes one resource from another of the same name: reservations, disk, and kind.

use std::sync::Arc;

use super::disk;
use crate::proto;

/// How resources became reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ReservationKind {
    /// By the agent's configuration; cannot be undone.
    Static,
    /// By a framework or an operator while running.
    Dynamic,
}

/// One entry of the stack of reservations of a resource.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// Static or dynamic.
    pub kind: ReservationKind,
    /// The role that may use the resource, with the roles below it. Never `*`.
    pub role: Arc<str>,
    /// Who made a dynamic reservation.
    pub principal: Option<String>,
    /// Notes of whoever made the reservation; reservations that differ in them do not mix.
    pub labels: Option<proto::Labels>,
}

impl Reservation {
    /// A reservation by configuration.
    pub fn fixed(role: impl Into<Arc<str>>) -> Reservation {
        Reservation {
            kind: ReservationKind::Static,
            role: role.into(),
            principal: None,
            labels: None,
        }
    }

    /// A reservation made while running.
    pub fn dynamic(role: impl Into<Arc<str>>, principal: Option<String>) -> Reservation {
        Reservation {
            kind: ReservationKind::Dynamic,
            role: role.into(),
            principal,
            labels: None,
        }
    }
}

impl PartialEq for Reservation {
    fn eq(&self, other: &Reservation) -> bool {
        self.kind == other.kind
            && self.role == other.role
            && self.principal == other.principal
            && labels_equal(self.labels.as_ref(), other.labels.as_ref())
    }
}

/// Labels are equal whatever their order; a label without value equals one with an empty value.
pub(super) fn labels_equal(left: Option<&proto::Labels>, right: Option<&proto::Labels>) -> bool {
    let (left, right) = match (left, right) {
        (None, None) => return true,
        (Some(left), Some(right)) => (left, right),
        _ => return false,
    };
    let pair = |label: &proto::Label| (label.key.clone(), label.value().to_owned());
    if left.labels == right.labels {
        return true;
    }
    if left.labels.len() != right.labels.len() {
        return false;
    }
    let mut left: Vec<_> = left.labels.iter().map(pair).collect();
    let mut right: Vec<_> = right.labels.iter().map(pair).collect();
    left.sort_unstable();
    right.sort_unstable();
    left == right
}

/// The rare properties of a resource. Plain resources have none and need no memory for them.
#[derive(Clone, Default, Debug)]
pub(super) struct Metadata {
    /// The stack of reservations; the last one counts.
    pub(super) reservations: Vec<Reservation>,
    /// Source, persistence and use of a disk.
    pub(super) disk: Option<proto::resource::DiskInfo>,
    /// May be taken back at any time.
    pub(super) revocable: bool,
    /// May be used by several tasks at once.
    pub(super) shared: bool,
    /// The resource provider; none is the agent itself.
    pub(super) provider_id: Option<String>,
}

impl Metadata {
    fn is_plain(&self) -> bool {
        self.reservations.is_empty()
            && self.disk.is_none()
            && !self.revocable
            && !self.shared
            && self.provider_id.is_none()
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Metadata) -> bool {
        self.revocable == other.revocable
            && self.shared == other.shared
            && self.provider_id == other.provider_id
            && self.reservations == other.reservations
            && match (&self.disk, &other.disk) {
                (None, None) => true,
                (Some(left), Some(right)) => disk::same(left, right),
                _ => false,
            }
    }
}

/// Metadata as resources hold it: nothing for plain ones, shared between clones otherwise.
#[derive(Clone, Default, Debug)]
pub(super) struct SharedMetadata(Option<Arc<Metadata>>);

impl SharedMetadata {
    pub(super) fn new(metadata: Metadata) -> SharedMetadata {
        SharedMetadata((!metadata.is_plain()).then(|| Arc::new(metadata)))
    }

    pub(super) fn get(&self) -> Option<&Metadata> {
        self.0.as_deref()
    }

    /// Changes the metadata of this one resource.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut Metadata)) {
        let mut metadata = match self.0.take() {
            Some(metadata) => Arc::unwrap_or_clone(metadata),
            None => Metadata::default(),
        };
        change(&mut metadata);
        *self = SharedMetadata::new(metadata);
    }
}

impl PartialEq for SharedMetadata {
    fn eq(&self, other: &SharedMetadata) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(left), Some(right)) => Arc::ptr_eq(left, right) || left == right,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, Option<&str>)]) -> Option<proto::Labels> {
        Some(proto::Labels {
            labels: pairs
                .iter()
                .map(|(key, value)| proto::Label {
                    key: (*key).into(),
                    value: value.map(Into::into),
                })
                .collect(),
        })
    }

    #[track_caller]
    fn check(left: &Option<proto::Labels>, right: &Option<proto::Labels>, expected: bool) {
        assert_eq!(labels_equal(left.as_ref(), right.as_ref()), expected);
        assert_eq!(labels_equal(right.as_ref(), left.as_ref()), expected);
    }

    #[test]
    fn equality_of_labels() {
        check(&None, &None, true);
        check(&None, &labels(&[]), false);
        check(
            &labels(&[("a", Some("1")), ("b", None)]),
            &labels(&[("b", None), ("a", Some("1"))]),
            true,
        );
        check(&labels(&[("a", None)]), &labels(&[("a", Some(""))]), true);
        check(&labels(&[("a", None)]), &labels(&[("a", Some("1"))]), false);
        check(
            &labels(&[("a", None), ("a", None), ("b", None)]),
            &labels(&[("a", None), ("b", None), ("b", None)]),
            false,
        );
    }

    #[test]
    fn plain_metadata_takes_no_memory() {
        assert_eq!(size_of::<SharedMetadata>(), 8);
        assert!(SharedMetadata::new(Metadata::default()).get().is_none());
        let mut metadata = SharedMetadata::default();
        metadata.update(|metadata| metadata.revocable = true);
        assert!(metadata.get().is_some());
        metadata.update(|metadata| metadata.revocable = false);
        assert!(metadata.get().is_none());
    }
}
