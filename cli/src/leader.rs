//! Finding the leading master, and making sure that it is one.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::StatusCode;
use mesos::detector::MasterDetector;
use mesos::proto::MasterInfo;
use tokio::runtime::Handle;

use crate::config::MasterChoice;
use crate::http::{Answer, Client, Http};

/// How long an election may take before we give up on it.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the session with ZooKeeper survives a lost connection.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// An endpoint that only masters have.
const MASTER_HEALTH: &str = "/master/health";

/// A client of the leading master, which was seen to answer as such.
pub(crate) async fn find(choice: &MasterChoice) -> anyhow::Result<Client> {
    let handle = Handle::current();
    let detector = MasterDetector::create(&choice.address, SESSION_TIMEOUT, &handle)
        .map_err(|error| anyhow!("{choice}: {error}"))?;
    let detection = tokio::time::timeout(DETECTION_TIMEOUT, detector.detect(None)).await;
    let leader = match detection {
        Ok(leader) => leader.map_err(|error| anyhow!("{choice}: {error}"))?,
        Err(_) => None,
    };
    let Some(leader) = leader else {
        bail!(
            "{choice}: no master was elected there within {} seconds",
            DETECTION_TIMEOUT.as_secs()
        );
    };
    let authority =
        authority(&leader).with_context(|| format!("{choice}: a master without port"))?;
    let mut client = Http::from_env()?.at(&authority)?;
    check_is_master(choice, &mut client).await?;
    Ok(client)
}

async fn check_is_master(choice: &MasterChoice, client: &mut Client) -> anyhow::Result<()> {
    let answer = client.get(MASTER_HEALTH).await;
    let answer = answer.map_err(|error| anyhow!("{choice}: no master: {error}"))?;
    match answer.status {
        // A master that is not elected yet is one nevertheless.
        StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE | StatusCode::UNAUTHORIZED => Ok(()),
        status => bail!(
            "{choice}: what listens at {} is no Mesos master (GET {MASTER_HEALTH} is answered by \
             {status}: {})",
            client.authority(),
            String::from_utf8_lossy(&answer.body)
                .lines()
                .next()
                .unwrap_or_default()
        ),
    }
}

/// Asks a master for `path`, which is to be answered by 200.
pub(crate) async fn ask(client: &mut Client, path: &str) -> anyhow::Result<Answer> {
    let answer = client.get(path).await?;
    if answer.status != StatusCode::OK {
        let reason = String::from_utf8_lossy(&answer.body);
        bail!(
            "the master at {} answers GET {path} by {}: {}",
            client.authority(),
            answer.status,
            reason.trim()
        );
    }
    Ok(answer)
}

fn authority(info: &MasterInfo) -> Option<String> {
    let address = info.address.as_ref();
    let ip = match address.and_then(|address| address.ip.clone()) {
        Some(ip) => ip,
        // The number is the address in network order, read by a little-endian machine.
        None => std::net::Ipv4Addr::from(info.ip.to_le_bytes()).to_string(),
    };
    let port = address.and_then(|address| u32::try_from(address.port).ok());
    let port = port.unwrap_or(info.port);
    (port != 0).then(|| format!("{ip}:{port}"))
}
