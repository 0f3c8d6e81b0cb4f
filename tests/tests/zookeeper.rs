//! Election and detection of masters against a real ZooKeeper server.
//!
//! Needs the Debian packages `zookeeper` and `default-jre-headless`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mesos::contender::{Candidacy, MasterContender};
use mesos::detector::{MasterAddress, MasterDetector};
use mesos::proto::MasterInfo;
use mesos::zookeeper::{Group, Member, Session, ZkUrl};
use mesos_tests::net::{Proxy, free_port};
use mesos_tests::wait::{eventually, within};
use mesos_tests::zookeeper::ZooKeeperServer;
use prost::Message;
use tokio::runtime::Handle;

/// Long enough for a busy machine to send its heartbeats in time.
const SESSION: Duration = Duration::from_secs(2);
/// Far more than anything here takes; reached only when it fails.
const DEADLINE: Duration = Duration::from_secs(30);

fn master(port: u16) -> MasterInfo {
    let address: MasterAddress = format!("127.0.0.1:{port}").parse().unwrap();
    address.resolve().unwrap()
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("zk://{address}{path}")
}

fn detector(url: &str) -> MasterDetector {
    MasterDetector::create(url, SESSION, &Handle::current()).unwrap()
}

async fn contend(url: &str, info: &MasterInfo) -> Candidacy {
    let contender = MasterContender::create(url, SESSION, &Handle::current()).unwrap();
    within("the candidate is in", DEADLINE, contender.contend(info))
        .await
        .unwrap()
}

/// Waits until the detector sees exactly this leader.
async fn sees(detector: &MasterDetector, leader: Option<&MasterInfo>) {
    let what = format!("{:?} leads", leader.map(MasterInfo::pid));
    within(what, DEADLINE, async {
        let mut seen = detector.leader().unwrap();
        while seen.as_ref() != leader {
            seen = detector.detect(seen).await.unwrap();
        }
    })
    .await;
}

async fn group(url: &str) -> Group {
    let url = ZkUrl::parse(url).unwrap();
    let session = Session::connect(&url, SESSION).await.unwrap();
    Group::open(session, url.path()).await.unwrap()
}

async fn members(group: &Group) -> Vec<Member> {
    group.members().await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_passes_on_in_the_order_of_candidates() {
    let zookeeper = ZooKeeperServer::start();
    // The parents of the path do not exist yet.
    let url = zookeeper.url("/clusters/one/mesos");
    let detector = detector(&url);
    let masters: Vec<MasterInfo> = (1..=3).map(master).collect();
    let mut candidates = Vec::new();
    for info in &masters {
        candidates.push(contend(&url, info).await);
    }
    let numbers: Vec<Option<i64>> = candidates.iter().map(Candidacy::sequence).collect();
    assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    sees(&detector, Some(&masters[0])).await;

    let first = candidates.remove(0);
    let lost = first.lost();
    assert!(first.withdraw().await, "the leader was in");
    within("a withdrawn candidate is out", DEADLINE, lost)
        .await
        .unwrap();
    sees(&detector, Some(&masters[1])).await;

    // The last one leaves; nothing changes for the leader.
    drop(candidates.pop());
    let watching = group(&url).await;
    eventually("one candidate is left", DEADLINE, || async {
        (members(&watching).await.len() == 1).then_some(())
    })
    .await;
    sees(&detector, Some(&masters[1])).await;

    // A master that dies closes its session too: its runtime is gone.
    drop(candidates);
    sees(&detector, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_what_clients_in_the_field_read() {
    let zookeeper = ZooKeeperServer::start();
    let url = zookeeper.url("/mesos");
    let info = MasterInfo {
        hostname: Some("master.example.com".to_owned()),
        version: Some("1.11.0".to_owned()),
        ..master(5050)
    };
    let _candidate = contend(&url, &info).await;
    let group = group(&url).await;
    let members = members(&group).await;
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].name(), "json.info_0000000000");
    let data = group.data(&members[0]).await.unwrap().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert!(!data.contains(&b'\n'), "not on one line");
    assert_eq!(json["address"]["ip"], "127.0.0.1");
    assert_eq!(json["address"]["port"], 5050);
    assert_eq!(json["ip"], 16_777_343);
    assert_eq!(json["port"], 5050);
    assert_eq!(json["pid"], "master@127.0.0.1:5050");
    assert_eq!(json["hostname"], "master.example.com");
    assert_eq!(json["version"], "1.11.0");
    assert_eq!(json["capabilities"][0]["type"], "AGENT_UPDATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_leader_gives_up_before_the_next_one_leads() {
    let zookeeper = ZooKeeperServer::start();
    let proxy = Proxy::start(zookeeper.address()).await;
    let (first, second) = (master(1), master(2));
    let isolated_url = url(proxy.address(), "/mesos");
    let isolated = contend(&isolated_url, &first).await;
    let isolated_detector = detector(&isolated_url);
    let _rival = contend(&zookeeper.url("/mesos"), &second).await;
    let connected_detector = detector(&zookeeper.url("/mesos"));
    sees(&isolated_detector, Some(&first)).await;
    sees(&connected_detector, Some(&first)).await;

    proxy.partition();
    let cut = Instant::now();
    within("the isolated leader gives up", DEADLINE, isolated.lost())
        .await
        .unwrap();
    assert!(
        cut.elapsed() >= SESSION,
        "gave up after {:?}",
        cut.elapsed()
    );
    sees(&isolated_detector, None).await;
    sees(&connected_detector, Some(&second)).await;

    // Back again, it can contend as the last in the line.
    proxy.heal();
    let again = contend(&isolated_url, &first).await;
    assert_eq!(again.sequence(), Some(2));
    sees(&isolated_detector, Some(&second)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_cut_changes_nothing() {
    let zookeeper = ZooKeeperServer::start();
    let proxy = Proxy::start(zookeeper.address()).await;
    let url = url(proxy.address(), "/mesos");
    let info = master(1);
    let long = Duration::from_secs(30);
    let contender = MasterContender::create(&url, long, &Handle::current()).unwrap();
    let candidate = contender.contend(&info).await.unwrap();
    let detector = MasterDetector::create(&url, long, &Handle::current()).unwrap();
    sees(&detector, Some(&info)).await;
    let changed = tokio::spawn(detector.detect(Some(info.clone())));
    let lost = tokio::spawn(candidate.lost());
    for _ in 0..3 {
        proxy.partition();
        proxy.heal();
    }
    // A new leader is seen through the connection that replaced the cut ones.
    let other = master(2);
    let rival = contend(&zookeeper.url("/mesos"), &other).await;
    assert_eq!(rival.sequence(), Some(1));
    assert!(!changed.is_finished(), "the detector saw a change");
    assert!(!lost.is_finished(), "the candidate was lost");
    assert!(candidate.withdraw().await, "the candidate was in");
    let leader = within("the rival leads", DEADLINE, changed).await.unwrap();
    assert_eq!(leader.unwrap(), Some(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_ends_sessions_and_a_thawed_one_is_used_again() {
    let zookeeper = ZooKeeperServer::start();
    let url = zookeeper.url("/mesos");
    let info = master(1);
    let detector = detector(&url);
    let candidate = contend(&url, &info).await;
    sees(&detector, Some(&info)).await;
    zookeeper.freeze();
    within("the candidate gives up", DEADLINE, candidate.lost())
        .await
        .unwrap();
    sees(&detector, None).await;
    zookeeper.thaw();
    drop(candidate);
    let _again = contend(&url, &info).await;
    sees(&detector, Some(&info)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_the_restart_of_the_server() {
    let mut zookeeper = ZooKeeperServer::start();
    let url = zookeeper.url("/mesos");
    let info = master(1);
    let patient = Duration::from_secs(60);
    let handle = Handle::current();
    let contender = MasterContender::create(&url, patient, &handle).unwrap();
    let candidate = contender.contend(&info).await.unwrap();
    let detector = MasterDetector::create(&url, patient, &handle).unwrap();
    sees(&detector, Some(&info)).await;
    let changed = tokio::spawn(detector.detect(Some(info.clone())));
    zookeeper.restart();
    // Session, ephemeral node and watch are all still good.
    assert!(!changed.is_finished(), "the detector saw a change");
    assert!(candidate.withdraw().await, "the candidate was still in");
    let leader = within("the leader is gone", DEADLINE, changed)
        .await
        .unwrap();
    assert_eq!(leader.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_server_that_is_not_there_yet() {
    let mut zookeeper = ZooKeeperServer::start();
    zookeeper.kill();
    let url = zookeeper.url("/mesos");
    let info = master(1);
    let detector = detector(&url);
    let contender = MasterContender::create(&url, SESSION, &Handle::current()).unwrap();
    let candidacy = tokio::spawn(contender.contend(&info));
    zookeeper.restart();
    let _candidate = within("the candidate is in", DEADLINE, candidacy)
        .await
        .unwrap()
        .unwrap();
    sees(&detector, Some(&info)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skips_servers_of_the_list_that_are_down() {
    let zookeeper = ZooKeeperServer::start();
    let url = format!(
        "zk://127.0.0.1:{},{},127.0.0.1:{}/mesos",
        free_port(),
        zookeeper.address(),
        free_port()
    );
    let info = master(1);
    let _candidate = contend(&url, &info).await;
    sees(&detector(&url), Some(&info)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_protect_the_election() {
    let zookeeper = ZooKeeperServer::start();
    let address = zookeeper.address();
    let owner = format!("zk://owner:secret@{address}/mesos");
    let info = master(1);
    let candidate = contend(&owner, &info).await;

    // Everybody may read.
    sees(&detector(&zookeeper.url("/mesos")), Some(&info)).await;

    // Nobody else may contend or remove candidates.
    for stranger in [
        zookeeper.url("/mesos"),
        format!("zk://owner:wrong@{address}/mesos"),
    ] {
        let contender = MasterContender::create(&stranger, SESSION, &Handle::current()).unwrap();
        let error = within(
            "the stranger is refused",
            DEADLINE,
            contender.contend(&info),
        )
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains("create '/mesos/json.info_'"), "{error}");
        assert!(error.contains("not authorized"), "{error}");
        assert!(!error.contains("wrong"), "leaks the password: {error}");
        let group = group(&stranger).await;
        let members = members(&group).await;
        let error = group.remove(&members[0]).await.unwrap_err().to_string();
        assert!(error.contains("not authorized"), "{error}");
    }

    // The owner may, from another session.
    let group = group(&owner).await;
    let members = members(&group).await;
    assert!(group.remove(&members[0]).await.unwrap());
    within("a removed candidate is out", DEADLINE, candidate.lost())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_nodes_of_older_masters_and_skips_what_is_no_member() {
    let zookeeper = ZooKeeperServer::start();
    let url = zookeeper.url("/mesos");
    let info = master(1);
    let oldest = raw_client(&zookeeper).await;
    let old = raw_client(&zookeeper).await;
    let _replicas = group(&zookeeper.url("/mesos/log_replicas")).await;
    create_sequential(&oldest, "/mesos/", b"master@127.0.0.1:77").await;
    create_sequential(&old, "/mesos/info_", &info.encode_to_vec()).await;
    let newest = contend(&url, &master(3)).await;
    assert_eq!(
        newest.sequence(),
        Some(2 + 1),
        "the subgroup counts as a child created"
    );

    let detector = detector(&url);
    let leader = within("someone leads", DEADLINE, detector.detect(None))
        .await
        .unwrap();
    assert_eq!(leader.unwrap().pid(), "master@127.0.0.1:77");
    drop(oldest);
    sees(&detector, Some(&info)).await;
    drop(old);
    let leader = within("the newest leads", DEADLINE, detector.detect(Some(info))).await;
    assert_eq!(leader.unwrap().unwrap().pid(), "master@127.0.0.1:3");
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_up_on_a_leader_that_cannot_be_understood() {
    let zookeeper = ZooKeeperServer::start();
    let url = zookeeper.url("/mesos");
    let _group = group(&url).await;
    let client = raw_client(&zookeeper).await;
    create_sequential(&client, "/mesos/json.info_", b"no json").await;
    let detector = detector(&url);
    for _ in 0..2 {
        let error = within("detection fails", DEADLINE, detector.detect(None))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("json.info_0000000000"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_the_group_again_when_someone_removes_it() {
    let zookeeper = ZooKeeperServer::start();
    let url = zookeeper.url("/mesos");
    let detector = detector(&url);
    let first = contend(&url, &master(1)).await;
    assert!(first.withdraw().await);
    let client = raw_client(&zookeeper).await;
    eventually("the group is removed", DEADLINE, || async {
        client.delete("/mesos", None).await.ok()
    })
    .await;
    let info = master(2);
    let _second = contend(&url, &info).await;
    sees(&detector, Some(&info)).await;
}

async fn raw_client(zookeeper: &ZooKeeperServer) -> zookeeper_client::Client {
    let address = zookeeper.address().to_string();
    zookeeper_client::Client::connect(&address).await.unwrap()
}

async fn create_sequential(client: &zookeeper_client::Client, prefix: &str, data: &[u8]) {
    let options = zookeeper_client::CreateMode::EphemeralSequential
        .with_acls(zookeeper_client::Acls::anyone_all());
    client.create(prefix, data, &options).await.unwrap();
}
