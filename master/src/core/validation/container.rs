//! Containers of tasks and executors.

use mesos::proto::{self, container_info, volume};

use super::validate_secret;

/// Checks the description of a container.
///
/// # Errors
/// What is wrong with it.
pub fn validate(container: &proto::ContainerInfo) -> Result<(), String> {
    for volume in &container.volumes {
        validate_volume(volume)?;
    }
    if container.r#type() == container_info::Type::Docker {
        let Some(docker) = &container.docker else {
            return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".to_owned());
        };
        if docker
            .parameters
            .iter()
            .any(|parameter| parameter.key == "name")
        {
            return Err("Parameter in DockerInfo must not be 'name'".to_owned());
        }
    }
    Ok(())
}

fn validate_volume(volume: &proto::Volume) -> Result<(), String> {
    let sources = [
        volume.host_path.is_some(),
        volume.image.is_some(),
        volume.source.is_some(),
    ];
    match sources.iter().filter(|set| **set).count() {
        0 => {
            return Err("None of 'host_path', 'image' and 'source' is set for a volume".to_owned());
        }
        1 => {}
        _ => {
            return Err(
                "Only one of 'host_path', 'image' and 'source' can be set for a volume".to_owned(),
            );
        }
    }
    volume
        .source
        .as_ref()
        .map_or(Ok(()), validate_volume_source)
}

fn validate_volume_source(source: &volume::Source) -> Result<(), String> {
    use volume::source::Type;
    let present = match source.r#type() {
        Type::DockerVolume => source.docker_volume.is_some(),
        Type::HostPath => source.host_path.is_some(),
        Type::SandboxPath => source.sandbox_path.is_some(),
        Type::Secret => source.secret.is_some(),
        Type::CsiVolume => source.csi_volume.is_some(),
        Type::Unknown => return Err("'source.type' is unknown for a volume".to_owned()),
    };
    if !present {
        return Err(format!(
            "The field that 'source.type' {} names is not set for a volume",
            source.r#type().as_str_name()
        ));
    }
    source.secret.as_ref().map_or(Ok(()), validate_secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(change: impl FnOnce(&mut proto::Volume)) -> proto::Volume {
        let mut volume = proto::Volume {
            container_path: "path".to_owned(),
            mode: volume::Mode::Rw as i32,
            ..Default::default()
        };
        change(&mut volume);
        volume
    }

    #[test]
    fn volumes_have_one_source() {
        let check = |volume: proto::Volume, ok| {
            let container = proto::ContainerInfo {
                r#type: container_info::Type::Mesos as i32,
                volumes: vec![volume],
                ..Default::default()
            };
            assert_eq!(validate(&container).is_ok(), ok);
        };
        check(volume(|_| {}), false);
        check(
            volume(|volume| volume.host_path = Some("/x".to_owned())),
            true,
        );
        check(
            volume(|volume| {
                volume.host_path = Some("/x".to_owned());
                volume.image = Some(proto::Image::default());
            }),
            false,
        );
        check(
            volume(|volume| {
                volume.source = Some(volume::Source {
                    r#type: Some(volume::source::Type::HostPath as i32),
                    ..Default::default()
                });
            }),
            false,
        );
    }

    #[test]
    fn docker_needs_docker_info() {
        let docker = |docker| proto::ContainerInfo {
            r#type: container_info::Type::Docker as i32,
            docker,
            ..Default::default()
        };
        assert!(validate(&docker(None)).is_err());
        let mut info = container_info::DockerInfo {
            image: "busybox".to_owned(),
            ..Default::default()
        };
        assert!(validate(&docker(Some(info.clone()))).is_ok());
        info.parameters.push(proto::Parameter {
            key: "name".to_owned(),
            value: "mine".to_owned(),
        });
        assert!(validate(&docker(Some(info))).is_err());
    }
}
