//! A scheduler that speaks the v1 HTTP API by hand: JSON calls, and RecordIO events as JSON.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::http::{self, Method, Response, StatusCode};
use crate::wait::within;

/// Path of the scheduler API.
pub const SCHEDULER_PATH: &str = "/api/v1/scheduler";
/// How long the answer to a SUBSCRIBE may take.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Events that may wait to be looked at; more than any test makes.
const EVENT_BACKLOG: usize = 10_000;

/// A subscribed framework. Dropping it closes the event stream, as a crash would.
#[derive(Debug)]
pub struct SchedulerClient {
    address: SocketAddr,
    stream_id: String,
    framework_id: String,
    subscribed: Value,
    events: mpsc::Receiver<Value>,
    reader: JoinHandle<()>,
}

impl SchedulerClient {
    /// Subscribes a framework with this `FrameworkInfo`; one with an `id` subscribes again.
    ///
    /// # Errors
    /// When the master does not answer with a stream that starts with SUBSCRIBED.
    pub async fn subscribe(address: SocketAddr, framework_info: &Value) -> Result<SchedulerClient> {
        let subscribing = Self::subscribe_unlimited(address, framework_info);
        tokio::time::timeout(SUBSCRIBE_TIMEOUT, subscribing)
            .await
            .with_context(|| format!("no SUBSCRIBED from {address} within {SUBSCRIBE_TIMEOUT:?}"))?
    }

    async fn subscribe_unlimited(
        address: SocketAddr,
        framework_info: &Value,
    ) -> Result<SchedulerClient> {
        let mut call = json!({
            "type": "SUBSCRIBE",
            "subscribe": {"framework_info": framework_info},
        });
        if let Some(id) = framework_info.get("id") {
            call["framework_id"] = id.clone();
        }
        let headers = [
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
        ];
        let response = http::open(
            address,
            Method::POST,
            SCHEDULER_PATH,
            &headers,
            call.to_string(),
        )
        .await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            bail!("SUBSCRIBE: {status} {}", String::from_utf8_lossy(&body));
        }
        let stream_id = response
            .headers()
            .get("Mesos-Stream-Id")
            .context("no Mesos-Stream-Id")?
            .to_str()?
            .to_owned();
        let (sender, mut events) = mpsc::channel(EVENT_BACKLOG);
        let reader = tokio::spawn(read_events(response.into_body(), sender));
        let subscribed = events.recv().await.context("the stream ended at once")?;
        let framework_id = subscribed["subscribed"]["framework_id"]["value"]
            .as_str()
            .with_context(|| format!("the first event is no SUBSCRIBED: {subscribed}"))?
            .to_owned();
        Ok(SchedulerClient {
            address,
            stream_id,
            framework_id,
            subscribed,
            events,
            reader,
        })
    }

    /// The id that the master gave to the framework, or knew it by.
    pub fn framework_id(&self) -> &str {
        &self.framework_id
    }

    /// The `Mesos-Stream-Id` that calls have to carry.
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }

    /// The SUBSCRIBED event.
    pub fn subscribed(&self) -> &Value {
        &self.subscribed
    }

    /// The next event of any type, or `None` when the stream has ended.
    pub async fn next_event(&mut self) -> Option<Value> {
        self.events.recv().await
    }

    /// The next event of one type; others are dropped on the way.
    ///
    /// # Panics
    /// When there is none within `deadline` or the stream ends.
    pub async fn expect(&mut self, kind: &str, deadline: Duration) -> Value {
        within(format!("{kind} arrives"), deadline, async {
            loop {
                match self.events.recv().await {
                    Some(event) if event["type"] == kind => return event,
                    Some(_) => {}
                    None => panic!("the stream ended while waiting for {kind}"),
                }
            }
        })
        .await
    }

    /// The next status update of a task, acknowledged if it asks for it.
    ///
    /// # Panics
    /// When there is none within `deadline`.
    pub async fn expect_status(&mut self, task_id: &str, deadline: Duration) -> Value {
        loop {
            let event = self.expect("UPDATE", deadline).await;
            let status = &event["update"]["status"];
            if let Err(error) = self.acknowledge(status).await {
                panic!("cannot acknowledge {status}: {error:#}");
            }
            if status["task_id"]["value"] == task_id {
                return status.clone();
            }
        }
    }

    /// Sends a call; `framework_id` is filled in.
    ///
    /// # Errors
    /// When there is no answer, or one other than 202 Accepted.
    pub async fn call(&self, call: Value) -> Result<()> {
        let kind = call["type"].clone();
        let response = self
            .raw_call(call, &[("Mesos-Stream-Id", &self.stream_id)])
            .await?;
        if response.status != StatusCode::ACCEPTED {
            bail!("{kind}: {} {}", response.status, response.text());
        }
        Ok(())
    }

    /// Sends a call with these headers besides the media types, and returns any answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn raw_call(&self, mut call: Value, headers: &[(&str, &str)]) -> Result<Response> {
        call["framework_id"] = json!({"value": self.framework_id});
        let mut all = vec![
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
        ];
        all.extend_from_slice(headers);
        http::request(
            self.address,
            Method::POST,
            SCHEDULER_PATH,
            &all,
            call.to_string(),
        )
        .await
    }

    /// Acknowledges a status update; one without a uuid wants no acknowledgement.
    ///
    /// # Errors
    /// As [`SchedulerClient::call`].
    pub async fn acknowledge(&self, status: &Value) -> Result<()> {
        if status.get("uuid").is_none() {
            return Ok(());
        }
        self.call(json!({
            "type": "ACKNOWLEDGE",
            "acknowledge": {
                "agent_id": status["agent_id"],
                "task_id": status["task_id"],
                "uuid": status["uuid"],
            },
        }))
        .await
    }

    /// Launches tasks on an offer.
    ///
    /// # Errors
    /// As [`SchedulerClient::call`].
    pub async fn launch(&self, offer: &Value, tasks: &[Value]) -> Result<()> {
        self.call(json!({
            "type": "ACCEPT",
            "accept": {
                "offer_ids": [offer["id"]],
                "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
                "filters": {"refuse_seconds": 0.0},
            },
        }))
        .await
    }

    /// Declines an offer for so many seconds.
    ///
    /// # Errors
    /// As [`SchedulerClient::call`].
    pub async fn decline(&self, offer: &Value, refuse_seconds: f64) -> Result<()> {
        self.call(json!({
            "type": "DECLINE",
            "decline": {
                "offer_ids": [offer["id"]],
                "filters": {"refuse_seconds": refuse_seconds},
            },
        }))
        .await
    }
}

impl Drop for SchedulerClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A `FrameworkInfo` with what a test usually needs.
pub fn framework_info(name: &str) -> Value {
    json!({
        "name": name,
        "user": "root",
        "roles": ["*"],
        "checkpoint": true,
        "failover_timeout": 600.0,
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
    })
}

/// A `TaskInfo` that runs a shell command on the agent of an offer.
pub fn command_task(offer: &Value, id: &str, command: &str, cpus: f64, mem: f64) -> Value {
    json!({
        "name": id,
        "task_id": {"value": id},
        "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", cpus), scalar("mem", mem)],
        "command": {"value": command},
    })
}

/// A scalar `Resource`.
pub fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

/// The sum of a scalar resource in an offer.
pub fn offered(offer: &Value, name: &str) -> f64 {
    let resources = offer["resources"].as_array().map_or(&[][..], Vec::as_slice);
    resources
        .iter()
        .filter(|resource| resource["name"] == name)
        .filter_map(|resource| resource["scalar"]["value"].as_f64())
        .sum()
}

/// Splits a RecordIO stream into JSON events until it ends or nobody listens.
async fn read_events(mut body: Incoming, sender: mpsc::Sender<Value>) {
    let mut buffer = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            buffer.extend_from_slice(data);
        }
        while let Some(record) = take_record(&mut buffer) {
            let event = match serde_json::from_slice(&record) {
                Ok(event) => event,
                Err(error) => panic!("an event is no JSON: {error}"),
            };
            if sender.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Takes one record, `<length>\n<bytes>`, from the front of a buffer that has it all.
///
/// # Panics
/// When the buffer does not start with a length.
pub fn take_record(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let newline = buffer.iter().position(|byte| *byte == b'\n')?;
    let length: usize = std::str::from_utf8(&buffer[..newline])
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no record length: {:?}", &buffer[..newline]));
    let end = newline + 1 + length;
    if buffer.len() < end {
        return None;
    }
    let rest = buffer.split_off(end);
    let record = std::mem::replace(buffer, rest).split_off(newline + 1);
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_records_as_they_become_complete() {
        let mut buffer = Vec::new();
        let mut records = Vec::new();
        for byte in b"2\nab0\n3\ncd\n1" {
            buffer.push(*byte);
            while let Some(record) = take_record(&mut buffer) {
                records.push(record);
            }
        }
        assert_eq!(records, [&b"ab"[..], b"", b"cd\n"]);
        assert_eq!(buffer, b"1");
    }
}
