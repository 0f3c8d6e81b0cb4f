//! Checks and health checks of tasks. Upstream: `src/checks/checker.cpp`, `health_checker.cpp`.

use mesos::proto::{self, check_info, health_check};

use super::validate_command;

/// Checks a task's check.
///
/// # Errors
/// What is wrong with it.
pub fn validate_check(check: &proto::CheckInfo) -> Result<(), String> {
    let payload = |present: bool, name: &str| {
        if present {
            Ok(())
        } else {
            Err(format!("Expecting '{name}' to be set for {name} check"))
        }
    };
    if check.r#type.is_none() {
        return Err("CheckInfo must specify 'type'".to_owned());
    }
    match check.r#type() {
        check_info::Type::Command => {
            payload(check.command.is_some(), "command")?;
            if let Some(command) = &check.command {
                validate_check_command(&command.command)?;
            }
        }
        check_info::Type::Http => {
            payload(check.http.is_some(), "http")?;
            validate_path(check.http.as_ref().and_then(|http| http.path.as_deref()))?;
        }
        check_info::Type::Tcp => payload(check.tcp.is_some(), "tcp")?,
        check_info::Type::Unknown => {
            return Err("'UNKNOWN' is not a valid check type".to_owned());
        }
    }
    validate_times(&[
        ("delay_seconds", check.delay_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ])
}

/// Checks a task's health check, whose type must have been filled in.
///
/// # Errors
/// What is wrong with it.
pub fn validate_health_check(check: &proto::HealthCheck) -> Result<(), String> {
    if check.r#type.is_none() {
        return Err("HealthCheck must specify 'type'".to_owned());
    }
    match check.r#type() {
        health_check::Type::Command => {
            let Some(command) = &check.command else {
                return Err("Expecting 'command' to be set for COMMAND health check".to_owned());
            };
            validate_check_command(command)?;
        }
        health_check::Type::Http => {
            let Some(http) = &check.http else {
                return Err("Expecting 'http' to be set for HTTP health check".to_owned());
            };
            if let Some(scheme) = &http.scheme
                && scheme != "http"
                && scheme != "https"
            {
                return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
            }
            validate_path(http.path.as_deref())?;
        }
        health_check::Type::Tcp => {
            if check.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP health check".to_owned());
            }
        }
        health_check::Type::Unknown => {
            return Err("'UNKNOWN' is not a valid health check type".to_owned());
        }
    }
    validate_times(&[
        ("delay_seconds", check.delay_seconds),
        ("grace_period_seconds", check.grace_period_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ])
}

/// Fills in the type of a health check from what it holds, for schedulers older than the type.
pub fn infer_health_check_type(check: &mut proto::HealthCheck) {
    if check.r#type.is_none() {
        check.r#type = match (&check.command, &check.http) {
            (Some(_), None) => Some(health_check::Type::Command as i32),
            (None, Some(_)) => Some(health_check::Type::Http as i32),
            _ => None,
        };
    }
}

fn validate_check_command(command: &proto::CommandInfo) -> Result<(), String> {
    if command.value.is_none() {
        return Err("The command of a check must contain 'value'".to_owned());
    }
    validate_command(command)
}

fn validate_path(path: Option<&str>) -> Result<(), String> {
    match path {
        Some(path) if !path.starts_with('/') => Err(format!(
            "The path '{path}' of an HTTP check must start with '/'"
        )),
        _ => Ok(()),
    }
}

fn validate_times(times: &[(&str, Option<f64>)]) -> Result<(), String> {
    for (name, seconds) in times {
        if seconds.is_some_and(|seconds| seconds.is_nan() || seconds < 0.0) {
            return Err(format!("Expecting '{name}' to be non-negative"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_checks() {
        let check = |change: &dyn Fn(&mut proto::HealthCheck), ok: bool| {
            let mut health = proto::HealthCheck {
                http: Some(health_check::HttpCheckInfo {
                    port: 80,
                    path: Some("/health".to_owned()),
                    scheme: Some("http".to_owned()),
                    ..Default::default()
                }),
                ..Default::default()
            };
            infer_health_check_type(&mut health);
            change(&mut health);
            assert_eq!(validate_health_check(&health).is_ok(), ok, "{health:?}");
        };
        check(&|_| {}, true);
        check(&|health| health.r#type = None, false);
        check(&|health| health.r#type = Some(0), false);
        check(&|health| health.http = None, false);
        check(&|health| health.delay_seconds = Some(-1.0), false);
        check(&|health| health.timeout_seconds = Some(f64::NAN), false);
        let with_http = |change: fn(&mut health_check::HttpCheckInfo)| {
            move |health: &mut proto::HealthCheck| {
                if let Some(http) = &mut health.http {
                    change(http);
                }
            }
        };
        check(
            &with_http(|http| http.scheme = Some("ftp".to_owned())),
            false,
        );
        check(
            &with_http(|http| http.scheme = Some("https".to_owned())),
            true,
        );
        check(
            &with_http(|http| http.path = Some("health".to_owned())),
            false,
        );
    }

    #[test]
    fn checks() {
        let check = |info: proto::CheckInfo, ok| assert_eq!(validate_check(&info).is_ok(), ok);
        check(proto::CheckInfo::default(), false);
        check(
            proto::CheckInfo {
                r#type: Some(check_info::Type::Tcp as i32),
                tcp: Some(check_info::Tcp { port: 1 }),
                ..Default::default()
            },
            true,
        );
        check(
            proto::CheckInfo {
                r#type: Some(check_info::Type::Command as i32),
                command: Some(check_info::Command {
                    command: proto::CommandInfo::default(),
                }),
                ..Default::default()
            },
            false,
        );
    }
}
