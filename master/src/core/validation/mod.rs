//! Rules that messages of peers must follow. Every function says what is wrong in a text that is
//! shown to the peer. Upstream: `src/master/validation.cpp`, `src/common/validation.cpp`.

pub mod agent;
pub mod checks;
pub mod container;
pub mod executor;
pub mod framework;
pub mod maintenance;
pub mod offer;
pub mod operation;
pub mod quota;
pub mod resource;
pub mod scheduler_call;
pub mod task;
pub mod task_group;

use mesos::proto;

use crate::constants::MAX_ID_BYTES;

/// Checks an id that may become part of a path: 1 to 255 bytes, not `.` or `..`, without control
/// characters, slashes and backslashes.
///
/// # Errors
/// What is wrong with it.
pub fn validate_id(kind: &str, id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err(format!("{kind} must not be empty"));
    }
    if id.len() > MAX_ID_BYTES {
        return Err(format!(
            "{kind} must not be longer than {MAX_ID_BYTES} bytes"
        ));
    }
    if id == "." || id == ".." {
        return Err(format!("{kind} '{id}' is disallowed"));
    }
    if id
        .bytes()
        .any(|byte| byte.is_ascii_control() || byte == b'/' || byte == b'\\')
    {
        return Err(format!(
            "{kind} '{}' contains a control character, slash or backslash",
            id.escape_debug()
        ));
    }
    Ok(())
}

/// Checks a duration that must not be negative.
///
/// # Errors
/// That it is.
pub fn validate_not_negative(
    what: &str,
    duration: Option<&proto::DurationInfo>,
) -> Result<(), String> {
    match duration {
        Some(duration) if duration.nanoseconds < 0 => Err(format!("{what} must not be negative")),
        _ => Ok(()),
    }
}

/// Checks that the environment variables of a command have the value their type says.
///
/// # Errors
/// The first variable that has not.
pub fn validate_command(command: &proto::CommandInfo) -> Result<(), String> {
    use proto::environment::variable::Type;
    let variables = command
        .environment
        .iter()
        .flat_map(|environment| &environment.variables);
    for variable in variables {
        let name = &variable.name;
        match variable.r#type() {
            Type::Secret => {
                let Some(secret) = &variable.secret else {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must have a secret set"
                    ));
                };
                if variable.value.is_some() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must not have a value set"
                    ));
                }
                validate_secret(secret)
                    .map_err(|error| format!("Environment variable '{name}': {error}"))?;
                let data = secret.value.as_ref().map(|value| &value.data);
                if data.is_some_and(|data| data.contains(&0)) {
                    return Err(format!(
                        "Environment variable '{name}': the secret must not contain null bytes"
                    ));
                }
            }
            Type::Value => {
                if variable.value.is_none() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'VALUE' must have a value set"
                    ));
                }
                if variable.secret.is_some() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'VALUE' must not have a secret set"
                    ));
                }
            }
            Type::Unknown => {
                return Err(format!(
                    "Environment variable '{name}' is of an unknown type"
                ));
            }
        }
    }
    Ok(())
}

/// Checks that a secret is what its type says.
///
/// # Errors
/// That it is not.
pub fn validate_secret(secret: &proto::Secret) -> Result<(), String> {
    use proto::secret::Type;
    let (reference, value) = (secret.reference.is_some(), secret.value.is_some());
    match secret.r#type() {
        Type::Reference if !reference => {
            Err("Secret of type REFERENCE must have the 'reference' field set".to_owned())
        }
        Type::Reference if value => {
            Err("Secret of type REFERENCE must not have the 'value' field set".to_owned())
        }
        Type::Value if !value => {
            Err("Secret of type VALUE must have the 'value' field set".to_owned())
        }
        Type::Value if reference => {
            Err("Secret of type VALUE must not have the 'reference' field set".to_owned())
        }
        Type::Unknown => Err("Secret of an unknown type".to_owned()),
        Type::Reference | Type::Value => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let check = |id: &str, ok| assert_eq!(validate_id("Task ID", id).is_ok(), ok, "{id:?}");
        check("task", true);
        check("a.b", true);
        check("...", true);
        check("täsk with spaces", true);
        check(&"x".repeat(255), true);
        check("", false);
        check(&"x".repeat(256), false);
        check(".", false);
        check("..", false);
        check("a/b", false);
        check("a\\b", false);
        check("a\nb", false);
        check("a\x7fb", false);
    }
}
