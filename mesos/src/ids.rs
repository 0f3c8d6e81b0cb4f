//! Ids as types of their own, so that they cannot be mixed up; cheap to clone and to use as keys.

use std::fmt;
use std::sync::Arc;

use crate::proto;

/// Declares an id: the text of a `value` field, shared by all clones.
macro_rules! ids {
    ($($(#[doc = $doc:literal])* $Name:ident => $($Proto:path),+;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name(Arc<str>);

        impl $Name {
            /// The id of this text.
            pub fn new(value: impl Into<Arc<str>>) -> Self {
                Self(value.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($Name), &*self.0)
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $Name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $Name {
            fn from(value: &str) -> Self {
                Self(value.into())
            }
        }

        impl From<String> for $Name {
            fn from(value: String) -> Self {
                Self(value.into())
            }
        }

        $(
            impl From<&$Proto> for $Name {
                fn from(id: &$Proto) -> Self {
                    Self(id.value.as_str().into())
                }
            }

            impl From<$Proto> for $Name {
                fn from(id: $Proto) -> Self {
                    Self(id.value.into())
                }
            }

            impl From<&$Name> for $Proto {
                fn from(id: &$Name) -> Self {
                    Self { value: id.0.to_string() }
                }
            }

            impl From<$Name> for $Proto {
                fn from(id: $Name) -> Self {
                    Self::from(&id)
                }
            }
        )+
    )*};
}

ids! {
    /// A framework, unique among all masters that ever led the cluster: `<master id>-<NNNN>`.
    FrameworkId => proto::FrameworkId, proto::v1::FrameworkId;
    /// An agent, for as long as its state on disk lives: `<master id>-S<N>`.
    AgentId => proto::SlaveId, proto::v1::AgentId;
    /// A task, unique within its framework while it is not terminal; chosen by the framework.
    TaskId => proto::TaskId, proto::v1::TaskId;
    /// An executor, unique within its framework on one agent; chosen by the framework.
    ExecutorId => proto::ExecutorId, proto::v1::ExecutorId;
    /// An offer: `<master id>-O<N>`.
    OfferId => proto::OfferId, proto::v1::OfferId;
    /// An operation, for which its framework wants feedback; chosen by the framework.
    OperationId => proto::OperationId, proto::v1::OperationId;
    /// A resource provider.
    ResourceProviderId => proto::ResourceProviderId, proto::v1::ResourceProviderId;
}

/// A container: its own id and those of the containers around it, outermost first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Arc<[Arc<str>]>);

impl ContainerId {
    /// A container that is not in another one.
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(Arc::new([value.into()]))
    }

    /// A container in this one.
    pub fn nested(&self, value: impl Into<Arc<str>>) -> Self {
        let own = std::iter::once(value.into());
        Self(self.0.iter().cloned().chain(own).collect())
    }

    /// The container's own id.
    pub fn value(&self) -> &str {
        self.0.last().map_or("", |value| value)
    }

    /// The container around this one.
    pub fn parent(&self) -> Option<Self> {
        let (_, parents) = self.0.split_last()?;
        (!parents.is_empty()).then(|| Self(parents.into()))
    }

    /// The outermost container around this one, or this one itself.
    pub fn root(&self) -> Self {
        Self(self.0.iter().take(1).cloned().collect())
    }

    /// Whether the container is in another one.
    pub fn is_nested(&self) -> bool {
        self.0.len() > 1
    }
}

impl fmt::Display for ContainerId {
    /// Ids from the outermost container to this one, joined by dots, as Mesos logs them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({self})")
    }
}

/// Conversions of [`ContainerId`] for one protobuf type.
macro_rules! container_id {
    ($($Proto:path),*) => {$(
        impl From<&$Proto> for ContainerId {
            fn from(id: &$Proto) -> Self {
                let mut values: Vec<Arc<str>> = vec![id.value.as_str().into()];
                let mut parent = id.parent.as_deref();
                while let Some(id) = parent {
                    values.push(id.value.as_str().into());
                    parent = id.parent.as_deref();
                }
                values.reverse();
                Self(values.into())
            }
        }

        impl From<&ContainerId> for $Proto {
            fn from(id: &ContainerId) -> Self {
                let mut message = Self::default();
                for value in id.0.iter() {
                    let parent = (!message.value.is_empty()).then(|| Box::new(message));
                    message = Self { value: value.to_string(), parent };
                }
                message
            }
        }
    )*};
}

container_id!(proto::ContainerId, proto::v1::ContainerId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_convert_to_and_from_messages() {
        let id = AgentId::from(proto::SlaveId { value: "S1".into() });
        assert_eq!(proto::v1::AgentId::from(&id).value, "S1");
        assert_eq!(proto::SlaveId::from(id.clone()).value, "S1");
        assert_eq!(id, AgentId::new("S1"));
        assert_eq!(format!("{id} {id:?}"), r#"S1 AgentId("S1")"#);
    }

    #[test]
    fn container_ids_nest() {
        let root = ContainerId::new("a");
        let id = root.nested("b").nested("c");
        assert_eq!(id.to_string(), "a.b.c");
        assert_eq!(id.value(), "c");
        assert_eq!(id.parent(), Some(root.nested("b")));
        assert_eq!((id.root(), root.parent()), (root.clone(), None));
        assert!(id.is_nested() && !root.is_nested());
        let message = proto::ContainerId::from(&id);
        assert_eq!(message.parent.as_ref().unwrap().value, "b");
        assert_eq!(ContainerId::from(&message), id);
    }
}
