//! Role names.
//!
//! A role is `*` (nobody's in particular) or a path of components separated by `/`, such as
//! `eng/web`. Resources reserved to a role may also be used by the roles below it.
//! Upstream: `src/common/roles.cpp`.

use thiserror::Error;

/// The role of resources that are reserved to nobody, and of frameworks that name none.
pub const STAR: &str = "*";

/// Why a role name is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RoleError {
    /// The name has no characters.
    #[error("Role names cannot be the empty string")]
    Empty,
    /// The name begins with `/`.
    #[error("Role '{0}' cannot start with a slash")]
    LeadingSlash(String),
    /// The name ends with `/`.
    #[error("Role '{0}' cannot end with a slash")]
    TrailingSlash(String),
    /// The name contains `//`.
    #[error("Role '{0}' cannot contain two adjacent slashes")]
    AdjacentSlashes(String),
    /// A component has a meaning of its own: `.`, `..` or `*`.
    #[error("Role '{role}' cannot include '{component}' as a component")]
    ReservedComponent {
        /// The whole name.
        role: String,
        /// The component that is not allowed.
        component: String,
    },
    /// A component begins with `-`.
    #[error("Role component '{component}' of role '{role}' cannot start with a dash")]
    LeadingDash {
        /// The whole name.
        role: String,
        /// The component that is not allowed.
        component: String,
    },
    /// A component contains white space or the delete character.
    #[error("Role component '{component}' of role '{role}' cannot contain white space or 0x7f")]
    InvalidCharacter {
        /// The whole name.
        role: String,
        /// The component that is not allowed.
        component: String,
    },
    /// The same role appears twice in a list.
    #[error("Role '{0}' is listed more than once")]
    Duplicate(String),
}

/// Checks that `role` is a valid role name.
///
/// # Errors
/// The first rule that the name breaks.
pub fn validate(role: &str) -> Result<(), RoleError> {
    if role == STAR {
        return Ok(());
    }
    if role.is_empty() {
        return Err(RoleError::Empty);
    }
    if role.starts_with('/') {
        return Err(RoleError::LeadingSlash(role.to_owned()));
    }
    if role.ends_with('/') {
        return Err(RoleError::TrailingSlash(role.to_owned()));
    }
    if role.contains("//") {
        return Err(RoleError::AdjacentSlashes(role.to_owned()));
    }
    role.split('/')
        .try_for_each(|component| validate_component(role, component))
}

fn validate_component(role: &str, component: &str) -> Result<(), RoleError> {
    let context = || (role.to_owned(), component.to_owned());
    if matches!(component, "." | ".." | STAR) {
        let (role, component) = context();
        return Err(RoleError::ReservedComponent { role, component });
    }
    if component.starts_with('-') {
        let (role, component) = context();
        return Err(RoleError::LeadingDash { role, component });
    }
    if component
        .bytes()
        .any(|byte| matches!(byte, 0x09..=0x0d | b' ' | 0x7f))
    {
        let (role, component) = context();
        return Err(RoleError::InvalidCharacter { role, component });
    }
    Ok(())
}

/// Checks every role of a list and that none appears twice.
///
/// # Errors
/// The first role that is invalid or repeated.
pub fn validate_all<S: AsRef<str>>(roles: &[S]) -> Result<(), RoleError> {
    let mut seen = std::collections::HashSet::with_capacity(roles.len());
    for role in roles {
        let role = role.as_ref();
        validate(role)?;
        if !seen.insert(role) {
            return Err(RoleError::Duplicate(role.to_owned()));
        }
    }
    Ok(())
}

/// Parses the value of the master's `--roles` flag: names separated by commas, empty ones skipped.
///
/// # Errors
/// The first role that is invalid.
pub fn parse(text: &str) -> Result<Vec<String>, RoleError> {
    text.split(',')
        .filter(|role| !role.is_empty())
        .map(|role| validate(role).map(|()| role.to_owned()))
        .collect()
}

/// Whether `left` lies below `right` in the hierarchy: `eng/web` is a strict subrole of `eng`.
#[must_use]
pub fn is_strict_subrole(left: &str, right: &str) -> bool {
    left.strip_prefix(right)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether `left` is `right` or lies below it.
#[must_use]
pub fn is_in_subtree(left: &str, right: &str) -> bool {
    left.strip_prefix(right)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The roles above `role`, nearest first: `a/b/c` gives `a/b`, `a`.
pub fn ancestors(role: &str) -> impl Iterator<Item = &str> {
    role.rmatch_indices('/')
        .filter_map(|(index, _)| role.get(..index))
}

/// The first component of a role: `eng` for `eng/web`. Quota exists only there.
#[must_use]
pub fn top_level(role: &str) -> &str {
    role.split('/').next().unwrap_or(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(role: &str, expected: Option<&str>) {
        let actual = validate(role).err().map(|error| error.to_string());
        assert_eq!(actual.as_deref(), expected, "role {role:?}");
    }

    #[test]
    fn valid_names() {
        for role in [
            "*", "a", "web-1", "a/b/c", "a.b", "...", "ä", "a/b-", "x*", "*x",
        ] {
            check(role, None);
        }
    }

    #[test]
    fn invalid_names() {
        check("", Some("Role names cannot be the empty string"));
        check("/", Some("Role '/' cannot start with a slash"));
        check("/a", Some("Role '/a' cannot start with a slash"));
        check("a/", Some("Role 'a/' cannot end with a slash"));
        check(
            "a//b",
            Some("Role 'a//b' cannot contain two adjacent slashes"),
        );
        check(".", Some("Role '.' cannot include '.' as a component"));
        check(
            "a/..",
            Some("Role 'a/..' cannot include '..' as a component"),
        );
        check("a/*", Some("Role 'a/*' cannot include '*' as a component"));
        check("*/a", Some("Role '*/a' cannot include '*' as a component"));
        check(
            "a/-b",
            Some("Role component '-b' of role 'a/-b' cannot start with a dash"),
        );
        for character in ['\t', '\n', '\u{b}', '\u{c}', '\r', ' ', '\u{7f}'] {
            let role = format!("a{character}b");
            assert!(matches!(
                validate(&role),
                Err(RoleError::InvalidCharacter { .. })
            ));
        }
    }

    #[test]
    fn lists() {
        assert_eq!(parse("a,b/c,"), Ok(vec!["a".into(), "b/c".into()]));
        assert_eq!(parse(""), Ok(vec![]));
        assert!(parse("a,b/").is_err());
        assert_eq!(validate_all(&["a", "b"]), Ok(()));
        assert_eq!(
            validate_all(&["a", "b", "a"]),
            Err(RoleError::Duplicate("a".into()))
        );
    }

    #[test]
    fn hierarchy() {
        assert!(is_strict_subrole("eng/web", "eng"));
        assert!(!is_strict_subrole("eng", "eng"));
        assert!(!is_strict_subrole("engine", "eng"));
        assert!(is_in_subtree("eng", "eng"));
        assert!(is_in_subtree("eng/web", "eng"));
        assert!(!is_in_subtree("engine/web", "eng"));
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(ancestors("a").count(), 0);
        assert_eq!(top_level("a/b/c"), "a");
        assert_eq!(top_level("a"), "a");
    }
}
