//! Standing for election as the leading master.
//!
//! A [`MasterContender`] enters one candidate: an ephemeral znode `json.info_##########` with
//! the `MasterInfo` as JSON. Who leads is then for [`crate::detector`] to say. A candidacy that
//! is lost is not renewed here; the master decides whether it contends again or exits.
//!
//! Upstream: `include/mesos/master/contender.hpp`, `src/master/contender/*.cpp`,
//! `src/zookeeper/contender.cpp`.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::info;

use crate::proto::MasterInfo;
use crate::zookeeper::{
    Group, JSON_LABEL, Member, Session, ZkUrl, ZkUrlError, ZooKeeperError, encode_master_info,
};

/// Why a master cannot stand for election.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ContenderError {
    /// The text is no usable ZooKeeper URL.
    #[error(transparent)]
    Url(#[from] ZkUrlError),
    /// The ensemble refuses what a contender needs.
    #[error("Failed to contend for leadership: {0}")]
    ZooKeeper(#[from] ZooKeeperError),
    /// The contender's runtime has been shut down.
    #[error("Failed to contend for leadership: the contender was stopped")]
    Stopped,
}

/// Enters a master into the election.
#[derive(Debug, Clone)]
pub struct MasterContender {
    election: Option<Election>,
}

#[derive(Debug, Clone)]
struct Election {
    url: ZkUrl,
    session_timeout: Duration,
    handle: Handle,
}

impl MasterContender {
    /// The contender of a master that has no rivals: its candidacy is never lost.
    pub fn standalone() -> MasterContender {
        MasterContender { election: None }
    }

    /// The contender in the group at a `zk://` URL (or in the file that a `file://` names).
    /// The traffic with ZooKeeper runs on `handle`, whose threads should not be blocked for
    /// long.
    ///
    /// # Errors
    /// When the text is no ZooKeeper URL, or its path is `/`.
    pub fn create(
        zk: &str,
        session_timeout: Duration,
        handle: &Handle,
    ) -> Result<MasterContender, ContenderError> {
        let url = ZkUrl::parse(zk)?.require_path()?;
        Ok(MasterContender {
            election: Some(Election {
                url,
                session_timeout,
                handle: handle.clone(),
            }),
        })
    }

    /// Enters the candidate, in a session of its own. Tries for as long as the ensemble cannot
    /// be reached or loses the session before the candidate is in. Dropping the future gives
    /// up.
    ///
    /// # Errors
    /// When the ensemble refuses the candidate for good.
    pub fn contend(
        &self,
        info: &MasterInfo,
    ) -> impl Future<Output = Result<Candidacy, ContenderError>> + Send + use<> {
        let election = self.election.clone();
        let payload = encode_master_info(info);
        async move {
            match election {
                None => Ok(Candidacy::standalone()),
                Some(election) => Candidacy::enter(election, payload).await,
            }
        }
    }
}

/// How a candidacy ended. `None` while it stands.
type End = Option<Result<(), ContenderError>>;

/// A candidate that is in the election. Dropping it takes the candidate out again.
#[derive(Debug)]
pub struct Candidacy {
    end: watch::Receiver<End>,
    sequence: Option<i64>,
    withdraw: Option<oneshot::Sender<oneshot::Sender<bool>>>,
    /// Keeps the candidate of a standalone contender from ever being lost.
    _standing: Option<watch::Sender<End>>,
}

impl Candidacy {
    /// The number of the candidate, by which candidates are ordered; `None` without rivals.
    pub fn sequence(&self) -> Option<i64> {
        self.sequence
    }

    /// Resolves when the candidate is out: withdrawn, its znode removed by someone else, or its
    /// session gone. In the last case this is at most the session timeout after the connection
    /// was lost, before the ensemble can have told another master that it leads.
    ///
    /// # Errors
    /// When the candidate can no longer be watched.
    pub fn lost(&self) -> impl Future<Output = Result<(), ContenderError>> + Send + use<> {
        let mut end = self.end.clone();
        async move {
            match end.wait_for(Option::is_some).await {
                Ok(end) => end.clone().unwrap_or(Ok(())),
                // The candidacy was dropped.
                Err(_) => Ok(()),
            }
        }
    }

    /// Takes the candidate out. True if it was still in.
    pub async fn withdraw(mut self) -> bool {
        let Some(withdraw) = self.withdraw.take() else {
            return true;
        };
        let (reply, withdrawn) = oneshot::channel();
        withdraw.send(reply).is_ok() && withdrawn.await.unwrap_or(false)
    }

    fn standalone() -> Candidacy {
        let (sender, end) = watch::channel(None);
        Candidacy {
            end,
            sequence: None,
            withdraw: None,
            _standing: Some(sender),
        }
    }

    async fn enter(election: Election, payload: String) -> Result<Candidacy, ContenderError> {
        let handle = election.handle.clone();
        let entering = handle.spawn(async move { enter_group(&election, &payload).await });
        let (group, member) = AbortOnDrop(entering).join().await?;
        let (sender, end) = watch::channel(None);
        let (withdraw, withdrawal) = oneshot::channel();
        let sequence = Some(member.sequence);
        handle.spawn(stand(group, member, withdrawal, sender));
        Ok(Candidacy {
            end,
            sequence,
            withdraw: Some(withdraw),
            _standing: None,
        })
    }
}

/// A task that ends with the future which waits for it.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<Result<T, ContenderError>> {
    async fn join(mut self) -> Result<T, ContenderError> {
        (&mut self.0).await.unwrap_or(Err(ContenderError::Stopped))
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn enter_group(
    election: &Election,
    payload: &str,
) -> Result<(Group, Member), ContenderError> {
    loop {
        let session = Session::connect(&election.url, election.session_timeout).await?;
        let entered = async {
            let group = Group::open(session, election.url.path()).await?;
            let member = group.join(JSON_LABEL, payload.as_bytes()).await?;
            Ok((group, member))
        };
        match entered.await {
            Ok((group, member)) => {
                info!(
                    "Entered the election of '{}' as {}",
                    election.url,
                    member.name()
                );
                return Ok((group, member));
            }
            Err(error @ ZooKeeperError::SessionLost { .. }) => {
                tracing::warn!("Contending again: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Watches the candidate until it is out, and keeps its session open until then.
async fn stand(
    group: Group,
    member: Member,
    withdrawal: oneshot::Receiver<oneshot::Sender<bool>>,
    end: watch::Sender<End>,
) {
    let outcome = tokio::select! {
        left = group.left(&member) => match left {
            Err(error) if !error.is_session_lost() => Err(error.into()),
            Err(error) => {
                info!("Lost the candidacy {}: {error}", member.name());
                Ok(())
            }
            Ok(()) => {
                info!("Lost the candidacy {}: its znode is gone", member.name());
                Ok(())
            }
        },
        withdrawn = withdrawal => {
            let removed = matches!(group.remove(&member).await, Ok(true));
            if let Ok(reply) = withdrawn {
                // Nobody may be waiting for the answer any more.
                let _ = reply.send(removed);
            }
            Ok(())
        }
    };
    end.send_modify(|end| *end = Some(outcome));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::DEFAULT_SESSION_TIMEOUT;

    #[tokio::test]
    async fn refuses_what_is_no_zookeeper_url() {
        fn check(text: &str, expected: &str) {
            let error = MasterContender::create(text, DEFAULT_SESSION_TIMEOUT, &Handle::current())
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        check("127.0.0.1:2181/mesos", "no ZooKeeper URL");
        check("zk://127.0.0.1:2181/", "('/' is not supported)");
    }

    #[tokio::test]
    async fn never_loses_a_candidacy_without_rivals() {
        let candidacy = MasterContender::standalone()
            .contend(&MasterInfo::default())
            .await
            .unwrap();
        let lost = candidacy.lost();
        tokio::select! {
            biased;
            _ = lost => panic!("lost without rivals"),
            () = std::future::ready(()) => {}
        }
        assert!(candidacy.withdraw().await);
    }
}
