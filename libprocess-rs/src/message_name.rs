//! Names of messages, cheap to pass on.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The name under which a message is sent and a handler is installed, such as `mesos.internal.PingSlaveMessage`.
///
/// Short names, and those known at compile time, need no memory of their own; the memory of a longer one is shared by its
/// clones.
#[derive(Clone)]
pub struct MessageName(Repr);

/// Names up to this length are held in place.
const INLINE_BYTES: usize = 22;

#[derive(Clone)]
enum Repr {
    /// Behind the name there are zeros, so that equal names have equal bytes.
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES],
    },
    Static(&'static str),
    Shared(Arc<str>),
}

impl MessageName {
    /// A name known at compile time, of any length.
    pub const fn from_static(name: &'static str) -> Self {
        Self(Repr::Static(name))
    }

    /// The full name of a protobuf type.
    pub fn of<M: prost::Name>() -> Self {
        Self::from(M::full_name())
    }

    fn inline(name: &str) -> Option<Self> {
        let mut bytes = [0; INLINE_BYTES];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        let len = u8::try_from(name.len()).ok()?;
        Some(Self(Repr::Inline { len, bytes }))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Made from text, so it is text.
            Repr::Inline { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Repr::Static(name) => name,
            Repr::Shared(name) => name,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Static(name) => name.as_bytes(),
            Repr::Shared(name) => name.as_bytes(),
        }
    }
}

impl From<&str> for MessageName {
    fn from(name: &str) -> Self {
        Self::inline(name).unwrap_or_else(|| Self(Repr::Shared(name.into())))
    }
}

impl From<Box<str>> for MessageName {
    fn from(name: Box<str>) -> Self {
        Self::inline(&name).unwrap_or_else(|| Self(Repr::Shared(name.into())))
    }
}

impl From<String> for MessageName {
    fn from(name: String) -> Self {
        Self::from(&*name)
    }
}

impl From<&String> for MessageName {
    fn from(name: &String) -> Self {
        Self::from(&**name)
    }
}

impl From<Cow<'_, str>> for MessageName {
    fn from(name: Cow<'_, str>) -> Self {
        Self::from(&*name)
    }
}

impl From<&Self> for MessageName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl PartialEq for MessageName {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Inline { len: a, bytes: x }, Repr::Inline { len: b, bytes: y }) => {
                a == b && x == y
            }
            (Repr::Shared(a), Repr::Shared(b)) if Arc::ptr_eq(a, b) => true,
            _ => self.as_bytes() == other.as_bytes(),
        }
    }
}

impl Eq for MessageName {}

impl Hash for MessageName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

impl PartialEq<str> for MessageName {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl AsRef<str> for MessageName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for MessageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MessageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn names_are_equal_however_they_are_held() {
        let hasher = std::hash::RandomState::new();
        let check = |name: &'static str| {
            let fixed = MessageName::from_static(name);
            let copied = MessageName::from(name);
            let boxed = MessageName::from(Box::<str>::from(name));
            for other in [&copied, &boxed, &copied.clone()] {
                assert_eq!(&fixed, other);
                assert_eq!(other.as_str(), name);
                assert_eq!(hasher.hash_one(&fixed), hasher.hash_one(other));
            }
            assert_ne!(fixed, MessageName::from(format!("{name}x")));
            assert_ne!(copied, MessageName::from(format!("{name}\0")));
        };
        check("");
        check("ping");
        check("twenty-two bytes long.");
        check("twenty-three bytes long");
        check("größer als zweiundzwanzig Bytes");
    }
}
