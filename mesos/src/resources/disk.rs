//! Identity of disks.

use crate::proto;
use proto::resource::DiskInfo;
use proto::resource::disk_info::Source;
use proto::resource::disk_info::source::Type;

use super::metadata::labels_equal;

/// The type of a disk's source, if it has one and we know it.
pub(super) fn source_type(disk: &DiskInfo) -> Option<Type> {
    disk.source
        .as_ref()
        .and_then(|source| Type::try_from(source.r#type).ok())
}

/// Whether two descriptions are of one disk. How a task mounts it and who created it do not count.
pub(super) fn same(left: &DiskInfo, right: &DiskInfo) -> bool {
    let persistence_id = |disk: &DiskInfo| disk.persistence.as_ref().map(|p| p.id.clone());
    same_source(left.source.as_ref(), right.source.as_ref())
        && persistence_id(left) == persistence_id(right)
}

fn same_source(left: Option<&Source>, right: Option<&Source>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => {
            left.r#type == right.r#type
                && left.path == right.path
                && left.mount == right.mount
                && left.vendor == right.vendor
                && left.id == right.id
                && left.profile == right.profile
                && labels_equal(left.metadata.as_ref(), right.metadata.as_ref())
        }
        _ => false,
    }
}

/// Whether the disk is one thing that can be neither joined with an equal one nor divided.
pub(super) fn is_indivisible(disk: &DiskInfo) -> bool {
    if disk.persistence.is_some() {
        return true;
    }
    match source_type(disk) {
        Some(Type::Mount | Type::Block) => true,
        Some(Type::Raw) => disk
            .source
            .as_ref()
            .is_some_and(|source| source.id.is_some()),
        Some(Type::Path | Type::Unknown) | None => false,
    }
}

/// The disk that a persistent volume was made of: the source alone, or a plain disk.
pub(super) fn without_volume(disk: &DiskInfo) -> Option<DiskInfo> {
    disk.source.as_ref().map(|source| DiskInfo {
        persistence: None,
        volume: None,
        source: Some(source.clone()),
    })
}
