//! Which master to talk to: by flag, environment or configuration file.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

/// The environment variable that names a master, as for all programs of Mesos.
const MASTER_VARIABLE: &str = "MESOS_MASTER";

/// The environment variable that names another configuration file.
const CONFIG_VARIABLE: &str = "MESOS_CLI_CONFIG";

/// The configuration file, in the home directory.
const CONFIG_FILE: &str = ".mesos/config.toml";

/// Where a master's address was found; errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag => f.write_str("flag --master"),
            Source::Environment => write!(f, "environment variable {MASTER_VARIABLE}"),
            Source::File(path) => write!(f, "file {}", path.display()),
            Source::Default => f.write_str("default master (no --master was given)"),
        }
    }
}

/// The address of a master (or of the ZooKeeper that knows it), and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MasterChoice {
    pub(crate) address: String,
    pub(crate) source: Source,
}

impl fmt::Display for MasterChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: '{}'", self.source, self.address)
    }
}

/// The configuration file, as far as it is ours; its form is that of upstream's Python CLI.
#[derive(Debug, Default, Deserialize)]
struct Config {
    master: Option<MasterConfig>,
}

#[derive(Debug, Deserialize)]
struct MasterConfig {
    address: Option<String>,
    zookeeper: Option<ZooKeeperConfig>,
}

#[derive(Debug, Deserialize)]
struct ZooKeeperConfig {
    addresses: Vec<String>,
    path: String,
}

/// Finds the master: `flag`, else the environment, else the configuration file.
pub(crate) fn find_master(
    flag: Option<String>,
    get: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<MasterChoice>> {
    let given = [
        (flag, Source::Flag),
        (get(MASTER_VARIABLE), Source::Environment),
    ];
    for (address, source) in given {
        if let Some(address) = address.filter(|address| !address.is_empty()) {
            return Ok(Some(MasterChoice { address, source }));
        }
    }
    let Some((path, required)) = config_path(get) else {
        return Ok(None);
    };
    let address = match std::fs::read_to_string(&path) {
        Ok(text) => read_config(&path, &text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => None,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read file {}", path.display()));
        }
    };
    Ok(address.map(|address| MasterChoice {
        address,
        source: Source::File(path),
    }))
}

/// The file to read, and whether it must be there.
fn config_path(get: impl Fn(&str) -> Option<String>) -> Option<(PathBuf, bool)> {
    if let Some(path) = get(CONFIG_VARIABLE) {
        return Some((PathBuf::from(path), true));
    }
    let home = get("HOME").filter(|home| !home.is_empty())?;
    Some((Path::new(&home).join(CONFIG_FILE), false))
}

fn read_config(path: &Path, text: &str) -> anyhow::Result<Option<String>> {
    let config: Config = toml::from_str(text).map_err(|error| {
        // The first line of the message; the others draw the place.
        anyhow::anyhow!("file {}: {}", path.display(), error.message())
    })?;
    let Some(master) = config.master else {
        return Ok(None);
    };
    match (master.address, master.zookeeper) {
        (Some(_), Some(_)) => bail!(
            "file {}: 'master.address' and 'master.zookeeper' exclude each other",
            path.display()
        ),
        (Some(address), None) => Ok(Some(address)),
        (None, Some(zookeeper)) if zookeeper.addresses.is_empty() => {
            bail!(
                "file {}: 'master.zookeeper.addresses' is empty",
                path.display()
            )
        }
        (None, Some(zookeeper)) => {
            let path = zookeeper.path.trim_start_matches('/');
            Ok(Some(format!(
                "zk://{}/{path}",
                zookeeper.addresses.join(",")
            )))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_configuration_file() {
        fn check(text: &str, expected: Result<Option<&str>, &str>) {
            let found = read_config(Path::new("c.toml"), text).map_err(|error| error.to_string());
            match expected {
                Ok(address) => assert_eq!(found.unwrap().as_deref(), address),
                Err(part) => {
                    let message = found.unwrap_err();
                    assert!(message.starts_with("file c.toml: "), "{message}");
                    assert!(message.contains(part), "{message}");
                }
            }
        }
        check("", Ok(None));
        check("[agent]\nssl = false", Ok(None));
        check("[master]\naddress = 'm:1'", Ok(Some("m:1")));
        check(
            "[master.zookeeper]\naddresses = ['a:1', 'b:2']\npath = '/mesos'",
            Ok(Some("zk://a:1,b:2/mesos")),
        );
        check(
            "[master.zookeeper]\naddresses = []\npath = '/mesos'",
            Err("is empty"),
        );
        check("[master]\naddress = 1", Err("string"));
        check(
            "[master]\naddress = 'm'\nzookeeper = { addresses = ['a'], path = '/' }",
            Err("exclude"),
        );
    }

    #[test]
    fn flag_before_environment_before_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(CONFIG_FILE);
        std::fs::create_dir(home.path().join(".mesos")).unwrap();
        std::fs::write(&file, "[master]\naddress = 'file:1'").unwrap();
        let check = |flag: Option<&str>, variable: Option<&str>, expected: (&str, Source)| {
            let get = |name: &str| match name {
                "HOME" => Some(home.path().display().to_string()),
                MASTER_VARIABLE => variable.map(str::to_owned),
                _ => None,
            };
            let found = find_master(flag.map(str::to_owned), get).unwrap().unwrap();
            assert_eq!((found.address.as_str(), found.source), expected);
        };
        check(Some("flag:1"), Some("env:1"), ("flag:1", Source::Flag));
        check(None, Some("env:1"), ("env:1", Source::Environment));
        check(None, Some(""), ("file:1", Source::File(file.clone())));
        check(None, None, ("file:1", Source::File(file.clone())));
    }

    #[test]
    fn only_a_named_file_must_exist() {
        let get = |name: &str| (name == "HOME").then(|| "/nonexistent".to_owned());
        assert_eq!(find_master(None, get).unwrap(), None);
        let get = |name: &str| (name == CONFIG_VARIABLE).then(|| "/nonexistent".to_owned());
        let message = find_master(None, get).unwrap_err().to_string();
        assert_eq!(message, "cannot read file /nonexistent");
    }
}
