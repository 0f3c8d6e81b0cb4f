//! Protobuf messages as JSON by the rules of Mesos.
//!
//! The printing and reading itself is in [`mesos_protos::json`]; what depends on more than protobuf is here.

pub use mesos_protos::json::{
    JsonError, JsonObject, JsonWriter, ProtoJson, from_slice, from_str, to_string, write_f64,
    write_str,
};

use serde::ser::{Error, Serialize, Serializer};
use serde_json::value::RawValue;

/// A message that a serde serializer for JSON prints in place, as part of a larger answer.
#[derive(Debug, Clone, Copy)]
pub struct Embedded<'a, M: ?Sized>(pub &'a M);

impl<M: ProtoJson + ?Sized> Serialize for Embedded<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(to_string(self.0))
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::FrameworkId;

    #[test]
    fn messages_embed_in_serde() {
        let id = FrameworkId {
            value: "f\"1".into(),
        };
        let list = vec![Embedded(&id), Embedded(&id)];
        assert_eq!(
            serde_json::to_string(&list).unwrap(),
            r#"[{"value":"f\"1"},{"value":"f\"1"}]"#
        );
    }
}
