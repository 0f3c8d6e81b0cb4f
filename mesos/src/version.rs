//! What this build is: the answer of `/version` and of `--version`.

use crate::proto::VersionInfo;

/// The version of Mesos whose behaviour this build offers, as agents and masters tell each other.
pub const VERSION: &str = "1.11.0";

/// Facts about the build, as `/version` and `/state` show them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BuildInfo {
    /// Always [`VERSION`].
    pub version: &'static str,
    /// When it was built: `2020-11-24 15:38:37`, in UTC.
    pub build_date: &'static str,
    /// The same in seconds since 1970.
    pub build_time: f64,
    /// Who built it.
    pub build_user: &'static str,
    /// The commit it was built from.
    pub git_sha: Option<&'static str>,
    /// The branch it was built from.
    pub git_branch: Option<&'static str>,
    /// The tag it was built from.
    pub git_tag: Option<&'static str>,
}

/// The facts about this build.
///
/// Those about time and commit come from the environment of the compiler (`MESOS_BUILD_DATE`,
/// `MESOS_BUILD_TIME`, `MESOS_BUILD_USER`, `MESOS_BUILD_GIT_SHA`, `..._GIT_BRANCH`, `..._GIT_TAG`), which
/// whoever packages a release sets; a build without them says so, and stays reproducible.
pub fn version_info() -> BuildInfo {
    BuildInfo {
        version: VERSION,
        build_date: option_env!("MESOS_BUILD_DATE").unwrap_or("1970-01-01 00:00:00"),
        build_time: option_env!("MESOS_BUILD_TIME")
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(0.0),
        build_user: option_env!("MESOS_BUILD_USER").unwrap_or("unknown"),
        git_sha: option_env!("MESOS_BUILD_GIT_SHA"),
        git_branch: option_env!("MESOS_BUILD_GIT_BRANCH"),
        git_tag: option_env!("MESOS_BUILD_GIT_TAG"),
    }
}

/// The answer of `/version`.
pub fn version_json() -> serde_json::Value {
    serde_json::json!(crate::model::BuildInfo(&version_info()))
}

impl From<BuildInfo> for VersionInfo {
    fn from(info: BuildInfo) -> Self {
        VersionInfo {
            version: info.version.into(),
            build_date: Some(info.build_date.into()),
            build_time: Some(info.build_time),
            build_user: Some(info.build_user.into()),
            git_sha: info.git_sha.map(Into::into),
            git_branch: info.git_branch.map(Into::into),
            git_tag: info.git_tag.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_prints_with_the_keys_of_the_endpoint() {
        let info = BuildInfo {
            git_sha: Some("abc"),
            git_branch: None,
            git_tag: None,
            ..version_info()
        };
        let json = crate::json::to_string(&VersionInfo::from(info));
        let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
        let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "version",
                "build_date",
                "build_time",
                "build_user",
                "git_sha"
            ]
        );
    }
}
