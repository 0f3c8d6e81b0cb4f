//! What master and agent show alike of a framework.

use serde::ser::SerializeMap;

use super::{Fields, serialize_as_object};
use crate::proto::{self, framework_info::capability::Type};

/// `user`, `failover_timeout` and `checkpoint`.
#[derive(Clone, Copy, Debug)]
pub struct FrameworkSettings<'a>(pub &'a proto::FrameworkInfo);

impl Fields for FrameworkSettings<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        object.serialize_entry("user", &self.0.user)?;
        object.serialize_entry("failover_timeout", &self.0.failover_timeout())?;
        object.serialize_entry("checkpoint", &self.0.checkpoint())
    }
}

/// `roles` of a MULTI_ROLE framework, or else `role`.
#[derive(Clone, Copy, Debug)]
pub struct FrameworkRoles<'a>(pub &'a proto::FrameworkInfo);

impl Fields for FrameworkRoles<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let multi_role = self
            .0
            .capabilities
            .iter()
            .any(|capability| capability.r#type() == Type::MultiRole);
        if multi_role {
            object.serialize_entry("roles", &self.0.roles)
        } else {
            object.serialize_entry("role", self.0.role())
        }
    }
}

serialize_as_object!(FrameworkSettings, FrameworkRoles);
