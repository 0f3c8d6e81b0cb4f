//! Tests of resources as a whole.

mod algebra;
mod operations;
mod parsing;
mod properties;
mod validation;

use super::*;
use crate::proto;
use proto::resource::DiskInfo;
use proto::resource::disk_info::{Persistence, Source, source};

/// Parses resources that are reserved to nobody unless they say so.
#[track_caller]
fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap()
}

fn amount(units: f64) -> Scalar {
    Scalar::from_f64(units).unwrap()
}

fn disk(megabytes: f64) -> Resource {
    Resource::scalar("disk", amount(megabytes))
}

fn source_of(source_type: source::Type, root: Option<&str>, id: Option<&str>) -> Source {
    let root = root.map(str::to_owned);
    Source {
        r#type: source_type.into(),
        path: (source_type == source::Type::Path).then(|| source::Path { root: root.clone() }),
        mount: (source_type == source::Type::Mount).then_some(source::Mount { root }),
        id: id.map(Into::into),
        ..Default::default()
    }
}

fn disk_info(persistence_id: Option<&str>, source: Option<Source>) -> DiskInfo {
    DiskInfo {
        persistence: persistence_id.map(|id| Persistence {
            id: id.into(),
            principal: None,
        }),
        volume: persistence_id.map(|_| proto::Volume {
            container_path: "data".into(),
            mode: proto::volume::Mode::Rw.into(),
            ..Default::default()
        }),
        source,
    }
}

/// A volume on the plain disk, reserved to role `web`.
fn volume(id: &str, megabytes: f64) -> Resource {
    disk(megabytes)
        .with_reservation(Reservation::dynamic("web", None))
        .with_disk(disk_info(Some(id), None))
}

fn sum(parts: impl IntoIterator<Item = Resource>) -> Resources {
    parts.into_iter().collect()
}
