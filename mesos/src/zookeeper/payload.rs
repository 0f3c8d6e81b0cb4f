//! What masters write into their znodes, and what older masters wrote.

use crate::decode::decode;
use crate::detector::MasterAddress;
use crate::json;
use crate::proto::MasterInfo;

/// Label of znodes that hold a `MasterInfo` as JSON: the one that is written.
pub const JSON_LABEL: &str = "json.info";
/// Label of znodes that hold a binary `MasterInfo` (Mesos before 0.24).
const BINARY_LABEL: &str = "info";

/// Why the data of a master's znode could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the znode '{name}' holds no {expected}: {reason}")]
pub struct PayloadError {
    /// Name of the znode.
    pub name: String,
    /// What its label promises.
    pub expected: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// The JSON text of a `MasterInfo`, on one line.
pub fn encode_master_info(info: &MasterInfo) -> String {
    json::to_string(info)
}

/// Reads the znode of a master, in any of the formats that a master ever wrote: JSON
/// (`json.info_`), binary (`info_`) and a PID as text (no label).
///
/// # Errors
/// When the label is another one, or the data is not what the label promises.
///
/// Upstream: `ZooKeeperMasterDetectorProcess::fetched`.
pub fn decode_master_info(member: &super::Member, data: &[u8]) -> Result<MasterInfo, PayloadError> {
    let fail = |expected, reason: String| PayloadError {
        name: member.name().to_owned(),
        expected,
        reason,
    };
    match member.label.as_deref() {
        Some(JSON_LABEL) => {
            json::from_slice(data).map_err(|error| fail("MasterInfo as JSON", error.to_string()))
        }
        Some(BINARY_LABEL) => {
            decode(data).map_err(|error| fail("binary MasterInfo", error.to_string()))
        }
        None => std::str::from_utf8(data)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                let address: MasterAddress = text.parse().map_err(|e| format!("{e}"))?;
                address.resolve().map_err(|e| format!("{e}"))
            })
            .map_err(|reason| fail("PID of a master", reason)),
        Some(label) => Err(fail(
            "known kind of master",
            format!("the label '{label}' is neither '{JSON_LABEL}' nor '{BINARY_LABEL}'"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::Member;
    use super::*;

    fn decode(name: &str, data: &[u8]) -> Result<MasterInfo, PayloadError> {
        decode_master_info(&Member::parse(name).unwrap(), data)
    }

    fn example() -> MasterInfo {
        let address: MasterAddress = "master@127.0.0.1:5050".parse().unwrap();
        address.resolve().unwrap()
    }

    #[test]
    fn reads_every_format() {
        let info = example();
        let json = encode_master_info(&info);
        assert!(!json.contains('\n'), "{json}");
        assert!(json.contains("\"ip\":16777343"), "{json}");
        assert_eq!(
            decode("json.info_0000000001", json.as_bytes()),
            Ok(info.clone())
        );
        assert_eq!(
            decode("info_0000000001", &info.encode_to_vec()),
            Ok(info.clone())
        );
        let from_pid = decode("0000000001", b"master@127.0.0.1:5050").unwrap();
        assert_eq!(from_pid.pid, info.pid);
        assert_eq!(from_pid.address, info.address);
    }

    #[test]
    fn reads_what_upstream_wrote() {
        let json = r#"{"address":{"hostname":"m1","ip":"10.0.0.1","port":5050},
            "capabilities":[{"type":"AGENT_UPDATE"},{"type":"AGENT_DRAINING"},{"type":"QUOTA_V2"}],
            "hostname":"m1","id":"6a0c","ip":16777226,"pid":"master@10.0.0.1:5050","port":5050,
            "version":"1.11.0"}"#;
        let info = decode("json.info_0000000001", json.as_bytes()).unwrap();
        assert_eq!(info.pid(), "master@10.0.0.1:5050");
        assert_eq!(info.ip, 16_777_226);
        assert_eq!(info.capabilities.len(), 3);
    }

    #[test]
    fn refuses_garbage() {
        fn check(name: &str, data: &[u8], expected: &str) {
            let error = decode(name, data).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(expected), "{error}");
        }
        check("json.info_0000000001", b"{", "as JSON");
        check("json.info_0000000001", b"", "as JSON");
        check("info_0000000001", &[0xff], "binary MasterInfo");
        check("0000000001", b"nobody", "PID of a master");
        check("0000000001", &[0xff], "PID of a master");
        check("log_0000000001", b"", "label 'log'");
    }
}
