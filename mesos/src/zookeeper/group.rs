//! Groups: a znode whose ephemeral, sequentially numbered children are the members.

use zookeeper_client::{
    Acl, Acls, AuthId, CreateMode, CreateOptions, Error, OneshotWatcher, Permission,
};

use super::{Session, ZooKeeperError};

/// Digits with which ZooKeeper pads the number of a sequential znode.
const SEQUENCE_DIGITS: usize = 10;
/// How often a member tries to join under a base path that someone keeps deleting.
const MAX_JOIN_ATTEMPTS: usize = 16;

/// One member of a group. Its identity and its place in the order are the number alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The number that ZooKeeper gave to the znode.
    pub sequence: i64,
    /// What stands before the number: `json.info` in `json.info_0000000007`, `None` in
    /// `0000000007`.
    pub label: Option<String>,
    name: String,
}

impl Member {
    /// Reads the name of a child. Children that do not end in a number are no members (a
    /// subgroup like `log_replicas`).
    pub fn parse(name: &str) -> Option<Member> {
        let mut tokens = name.split('_');
        let last = tokens.next_back()?;
        Some(Member {
            sequence: last.parse().ok()?,
            label: tokens.next().map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// The name of the znode, without its parents.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The group at the path of a URL, as seen by one session. All operations fail with
/// [`ZooKeeperError::SessionLost`] when the session ends.
///
/// Upstream: `zookeeper::Group`.
#[derive(Debug, Clone)]
pub struct Group {
    session: Session,
    path: String,
}

impl Group {
    /// The group at `path`, which is created with its parents where missing.
    ///
    /// # Errors
    /// When the path may not be created or read, or the session ends.
    pub async fn open(session: Session, path: &str) -> Result<Group, ZooKeeperError> {
        let group = Group {
            session,
            path: path.to_owned(),
        };
        group.create_base().await?;
        Ok(group)
    }

    /// The session that carries this group.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Creates an ephemeral member `<label>_##########` holding `data`.
    ///
    /// # Errors
    /// When the member may not be created, or the session ends.
    pub async fn join(&self, label: &str, data: &[u8]) -> Result<Member, ZooKeeperError> {
        let prefix = format!("{}/{label}_", self.path);
        let acl = self.acl();
        let options = CreateMode::EphemeralSequential.with_acls(Acls::new(&acl));
        let mut failure = Error::NoNode;
        for _ in 0..MAX_JOIN_ATTEMPTS {
            let client = self.session.client();
            let created = tokio::select! {
                created = client.create(&prefix, data, &options) => created,
                error = self.session.lost_error() => return Err(error),
            };
            match created {
                Ok((_, sequence)) => return Ok(new_member(label, sequence.into_i64())),
                Err(Error::NoNode) => self.create_base().await?,
                Err(error) => match self.session.permanent("create", &prefix, &error) {
                    Some(permanent) => return Err(permanent),
                    None => failure = error,
                },
            }
            // A request may have been carried out although its answer was lost.
            if let Some(member) = self.find_own(label).await? {
                return Ok(member);
            }
        }
        Err(ZooKeeperError::Refused {
            servers: self.session.servers().to_owned(),
            operation: "create",
            path: prefix,
            source: failure,
        })
    }

    /// The members in their order, and a watcher that fires when the set may have changed.
    ///
    /// # Errors
    /// When the group may not be listed, or the session ends.
    pub async fn members(&self) -> Result<(Vec<Member>, OneshotWatcher), ZooKeeperError> {
        loop {
            let listed = self
                .session
                .retry("list", &self.path, || async {
                    let client = self.session.client();
                    present(client.list_and_watch_children(&self.path).await)
                })
                .await?;
            let Some((children, watcher)) = listed else {
                self.create_base().await?;
                continue;
            };
            let mut members: Vec<Member> = children
                .iter()
                .filter_map(|name| Member::parse(name))
                .collect();
            members.sort_by_key(|member| member.sequence);
            return Ok((members, watcher));
        }
    }

    /// What a member holds, or `None` if it has left.
    ///
    /// # Errors
    /// When the member may not be read, or the session ends.
    pub async fn data(&self, member: &Member) -> Result<Option<Vec<u8>>, ZooKeeperError> {
        let path = self.path_of(member);
        let found = self
            .session
            .retry("read", &path, || async {
                present(self.session.client().get_data(&path).await)
            })
            .await?;
        Ok(found.map(|(data, _)| data))
    }

    /// Waits until a member has left.
    ///
    /// # Errors
    /// When the member may not be watched, or the session ends.
    pub async fn left(&self, member: &Member) -> Result<(), ZooKeeperError> {
        let path = self.path_of(member);
        loop {
            let (stat, watcher) = self
                .session
                .retry("watch", &path, || {
                    self.session.client().check_and_watch_stat(&path)
                })
                .await?;
            if stat.is_none() {
                return Ok(());
            }
            tokio::select! {
                _ = watcher.changed() => {}
                error = self.session.lost_error() => return Err(error),
            }
        }
    }

    /// Removes a member. False if it had already left.
    ///
    /// # Errors
    /// When the member may not be removed, or the session ends.
    pub async fn remove(&self, member: &Member) -> Result<bool, ZooKeeperError> {
        let path = self.path_of(member);
        let removed = self
            .session
            .retry("delete", &path, || async {
                present(self.session.client().delete(&path, None).await)
            })
            .await?;
        Ok(removed.is_some())
    }

    fn path_of(&self, member: &Member) -> String {
        format!("{}/{}", self.path, member.name)
    }

    /// Everybody may read what has an owner; what has none is open.
    fn acl(&self) -> Vec<Acl> {
        if self.session.is_authenticated() {
            vec![
                Acl::new(Permission::READ, AuthId::anyone()),
                Acl::new(Permission::ALL, AuthId::authed()),
            ]
        } else {
            vec![Acl::new(Permission::ALL, AuthId::anyone())]
        }
    }

    /// Looks first, so that a reader without the right to create can use an existing group.
    async fn create_base(&self) -> Result<(), ZooKeeperError> {
        let client = self.session.client();
        let acl = self.acl();
        let options: CreateOptions<'_> = CreateMode::Persistent.with_acls(Acls::new(&acl));
        let exists = self
            .session
            .retry("look up", &self.path, || client.check_stat(&self.path))
            .await?
            .is_some();
        if exists {
            return Ok(());
        }
        self.session
            .retry("create", &self.path, || client.mkdir(&self.path, &options))
            .await
    }

    /// The member with this label that belongs to the own session.
    async fn find_own(&self, label: &str) -> Result<Option<Member>, ZooKeeperError> {
        let own = self.session.client().session_id().0;
        let (members, _) = self.members().await?;
        for member in members {
            if member.label.as_deref() != Some(label) {
                continue;
            }
            let path = self.path_of(&member);
            let stat = self
                .session
                .retry("look up", &path, || self.session.client().check_stat(&path))
                .await?;
            if stat.is_some_and(|stat| stat.ephemeral_owner == own) {
                return Ok(Some(member));
            }
        }
        Ok(None)
    }
}

fn new_member(label: &str, sequence: i64) -> Member {
    Member {
        sequence,
        label: Some(label.to_owned()),
        name: format!("{label}_{sequence:0SEQUENCE_DIGITS$}"),
    }
}

/// Turns the absence of a node from an error into `None`.
fn present<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_of_children() {
        fn check(name: &str, expected: Option<(i64, Option<&str>)>) {
            let member = Member::parse(name);
            let found = member
                .as_ref()
                .map(|member| (member.sequence, member.label.as_deref()));
            assert_eq!(found, expected, "{name}");
        }
        check("0000000007", Some((7, None)));
        check("info_0000000012", Some((12, Some("info"))));
        check("json.info_0000000003", Some((3, Some("json.info"))));
        check(
            "json.info_4294967296",
            Some((4_294_967_296, Some("json.info"))),
        );
        check(
            "json.info_-2147483648",
            Some((-2_147_483_648, Some("json.info"))),
        );
        check("a_b_0000000001", Some((1, Some("a"))));
        check("log_replicas", None);
        check("json.info_", None);
        check("", None);
    }

    #[test]
    fn names_new_members_as_the_server_does() {
        let member = new_member("json.info", 7);
        assert_eq!(member.name(), "json.info_0000000007");
        assert_eq!(Member::parse(member.name()), Some(member));
    }
}
