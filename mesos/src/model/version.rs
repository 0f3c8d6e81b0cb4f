//! The build that runs.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Fields, optional};
use crate::version;

/// Where and when this program was built.
///
/// As [`Fields`] it is the beginning of `/state`; serialized it is the answer of `/version`, which
/// has the same keys in alphabetical order. Upstream: `src/version/version.cpp`.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo<'a>(pub &'a version::BuildInfo);

impl Fields for BuildInfo<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let info = self.0;
        object.serialize_entry("version", info.version)?;
        optional(object, "git_sha", info.git_sha)?;
        optional(object, "git_branch", info.git_branch)?;
        optional(object, "git_tag", info.git_tag)?;
        object.serialize_entry("build_date", info.build_date)?;
        object.serialize_entry("build_time", &info.build_time)?;
        object.serialize_entry("build_user", info.build_user)
    }
}

impl Serialize for BuildInfo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let info = self.0;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("build_date", info.build_date)?;
        object.serialize_entry("build_time", &info.build_time)?;
        object.serialize_entry("build_user", info.build_user)?;
        optional(&mut object, "git_branch", info.git_branch)?;
        optional(&mut object, "git_sha", info.git_sha)?;
        optional(&mut object, "git_tag", info.git_tag)?;
        object.serialize_entry("version", info.version)?;
        object.end()
    }
}
