//! Names of resources.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The name of a resource, such as `cpus`.
///
/// The names that nearly every resource has are held without memory of their own, so that cloning
/// and comparing them costs nothing; any other name is shared between its clones.
#[derive(Clone)]
pub struct Name(Repr);

/// The names without allocation. `Other` points to a `String` rather than a `str`, because the
/// thin pointer keeps the whole type at 16 bytes, and a name sits in every resource.
#[derive(Clone)]
enum Repr {
    Cpus,
    Mem,
    Disk,
    Gpus,
    Ports,
    Other(Arc<String>),
}

impl Name {
    /// `cpus`: processor time, in processors.
    pub const CPUS: Name = Name(Repr::Cpus);
    /// `mem`: memory, in megabytes (2^20 bytes).
    pub const MEM: Name = Name(Repr::Mem);
    /// `disk`: disk space, in megabytes (2^20 bytes).
    pub const DISK: Name = Name(Repr::Disk);
    /// `gpus`: graphics processors, whole ones only.
    pub const GPUS: Name = Name(Repr::Gpus);
    /// `ports`: TCP and UDP ports of the host.
    pub const PORTS: Name = Name(Repr::Ports);

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Cpus => "cpus",
            Repr::Mem => "mem",
            Repr::Disk => "disk",
            Repr::Gpus => "gpus",
            Repr::Ports => "ports",
            Repr::Other(name) => name,
        }
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Name {
        match name {
            "cpus" => Name::CPUS,
            "mem" => Name::MEM,
            "disk" => Name::DISK,
            "gpus" => Name::GPUS,
            "ports" => Name::PORTS,
            other => Name(Repr::Other(Arc::new(other.to_owned()))),
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        match (&self.0, &other.0) {
            (Repr::Other(left), Repr::Other(right)) => {
                Arc::ptr_eq(left, right) || left.as_str() == right.as_str()
            }
            (left, right) => std::mem::discriminant(left) == std::mem::discriminant(right),
        }
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// Hash and order follow the text, as `Borrow<str>` demands.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_other_names() {
        for name in ["cpus", "mem", "disk", "gpus", "ports", "bandwidth", ""] {
            assert_eq!(Name::from(name).as_str(), name);
            assert_eq!(Name::from(name), Name::from(name));
        }
        assert_ne!(Name::CPUS, Name::MEM);
        assert_ne!(Name::CPUS, Name::from("cpu"));
        assert!(Name::CPUS < Name::DISK && Name::DISK < Name::PORTS);
        assert_eq!(size_of::<Name>(), 16);
    }
}
