//! The text of resources in logs and messages.
//!
//! Plain resources print as they are parsed; reservations, disks and the like print in a form for
//! people that cannot be read back.

use std::fmt::{self, Display, Formatter};

use super::collection::Resources;
use super::disk;
use super::metadata::{Reservation, ReservationKind};
use super::resource::Resource;
use crate::proto;
use proto::resource::DiskInfo;
use proto::resource::disk_info::Source;
use proto::resource::disk_info::source::Type;

impl Display for Resource {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name())?;
        if let Some(role) = self.allocation_role() {
            write!(formatter, "(allocated: {role})")?;
        }
        if !self.is_unreserved() {
            formatter.write_str("(reservations: [")?;
            for (index, reservation) in self.reservations().iter().enumerate() {
                let separator = if index == 0 { "" } else { "," };
                write!(formatter, "{separator}({reservation})")?;
            }
            formatter.write_str("])")?;
        }
        if let Some(disk) = self.disk() {
            formatter.write_str("[")?;
            fmt_disk(disk, formatter)?;
            formatter.write_str("]")?;
        }
        if self.is_revocable() {
            formatter.write_str("{REV}")?;
        }
        if self.is_shared() {
            formatter.write_str("<SHARED>")?;
        }
        write!(formatter, ":{}", self.value())?;
        if self.is_shared() {
            write!(formatter, "<{}>", self.shared_count())?;
        }
        Ok(())
    }
}

impl Display for Reservation {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ReservationKind::Static => "STATIC",
            ReservationKind::Dynamic => "DYNAMIC",
        };
        write!(formatter, "{kind},{}", self.role)?;
        if let Some(principal) = &self.principal {
            write!(formatter, ",{principal}")?;
        }
        if let Some(labels) = &self.labels {
            formatter.write_str(",{")?;
            for (index, label) in labels.labels.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                write!(formatter, "{separator}{}", label.key)?;
                if let Some(value) = &label.value {
                    write!(formatter, ": {value}")?;
                }
            }
            formatter.write_str("}")?;
        }
        Ok(())
    }
}

fn fmt_disk(disk: &DiskInfo, formatter: &mut Formatter<'_>) -> fmt::Result {
    if let Some(source) = &disk.source {
        fmt_source(disk::source_type(disk), source, formatter)?;
    }
    if let Some(persistence) = &disk.persistence {
        let separator = if disk.source.is_some() { "," } else { "" };
        write!(formatter, "{separator}{}", persistence.id)?;
    }
    if let Some(volume) = &disk.volume {
        fmt_volume(volume, formatter)?;
    }
    Ok(())
}

fn fmt_source(
    source_type: Option<Type>,
    source: &Source,
    formatter: &mut Formatter<'_>,
) -> fmt::Result {
    let source_type = source_type.unwrap_or(Type::Unknown);
    formatter.write_str(source_type.as_str_name())?;
    if source.id.is_some() || source.profile.is_some() {
        return write!(
            formatter,
            "({},{},{})",
            source.vendor(),
            source.id(),
            source.profile()
        );
    }
    let root = match source_type {
        Type::Mount => source.mount.as_ref().and_then(|mount| mount.root.as_ref()),
        Type::Path => source.path.as_ref().and_then(|path| path.root.as_ref()),
        Type::Block | Type::Raw | Type::Unknown => None,
    };
    root.map_or(Ok(()), |root| write!(formatter, ":{root}"))
}

fn fmt_volume(volume: &proto::Volume, formatter: &mut Formatter<'_>) -> fmt::Result {
    let container_path = &volume.container_path;
    let Some(host_path) = &volume.host_path else {
        return write!(formatter, ":{container_path}");
    };
    let mode = match volume.mode() {
        proto::volume::Mode::Rw => "rw",
        proto::volume::Mode::Ro => "ro",
    };
    write!(formatter, ":{host_path}:{container_path}:{mode}")
}

/// `cpus:2; mem:1024`, or `{}` for nothing.
impl Display for Resources {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("{}");
        }
        for (index, resource) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{resource}")?;
        }
        Ok(())
    }
}
