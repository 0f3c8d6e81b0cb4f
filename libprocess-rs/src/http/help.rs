//! Help texts of routes.

use std::fmt::Write;

/// What `/help` says about a route.
///
/// Upstream: `HELP` in `3rdparty/libprocess/include/process/help.hpp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Help {
    tldr: String,
    description: Vec<String>,
    authentication: Option<bool>,
    authorization: Vec<String>,
    references: Vec<String>,
}

impl Help {
    /// Help that has one sentence about what the route is for.
    pub fn tldr(sentence: impl Into<String>) -> Self {
        Self {
            tldr: sentence.into(),
            ..Self::default()
        }
    }

    /// Adds a line to the description (Markdown).
    pub fn description(mut self, line: impl Into<String>) -> Self {
        self.description.push(line.into());
        self
    }

    /// Says whether the route requires authentication when it is enabled.
    pub fn authentication(mut self, required: bool) -> Self {
        self.authentication = Some(required);
        self
    }

    /// Adds a line about who may use the route.
    pub fn authorization(mut self, line: impl Into<String>) -> Self {
        self.authorization.push(line.into());
        self
    }

    /// Adds a line of references.
    pub fn reference(mut self, line: impl Into<String>) -> Self {
        self.references.push(line.into());
        self
    }

    /// The whole help of the route `/id/name` in Markdown; `delegated` if it can be reached without the id.
    pub(crate) fn markdown(&self, id: &str, name: &str, delegated: bool) -> String {
        let name = name.trim_end_matches('/');
        let mut text = String::from("### USAGE ###\n");
        // Writing to memory cannot fail.
        if delegated {
            let _ = writeln!(text, ">        {name}");
        }
        let _ = writeln!(text, ">        /{id}{name}\n");
        let _ = writeln!(text, "### TL;DR; ###\n{}", self.tldr);
        section(&mut text, "DESCRIPTION", &self.description);
        if let Some(required) = self.authentication {
            let sentence = match required {
                true => {
                    "This endpoint requires authentication iff HTTP authentication is\nenabled."
                }
                false => "This endpoint does not require authentication.",
            };
            let _ = writeln!(text, "\n### AUTHENTICATION ###\n{sentence}");
        }
        section(&mut text, "AUTHORIZATION", &self.authorization);
        if !self.references.is_empty() {
            let _ = write!(text, "\n{}\n\n", self.references.join("\n"));
        }
        text
    }
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = write!(text, "\n### {title} ###\n{}\n\n", lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_sections_that_have_content() {
        let help = Help::tldr("Health status.").authentication(false);
        assert_eq!(
            help.markdown("master", "/health", true),
            "### USAGE ###\n>        /health\n>        /master/health\n\n### TL;DR; ###\nHealth status.\n\n\
             ### AUTHENTICATION ###\nThis endpoint does not require authentication.\n"
        );
        let help = Help::tldr("Files.").description("One.").description("Two.");
        assert_eq!(
            help.markdown("files", "/", false),
            "### USAGE ###\n>        /files\n\n### TL;DR; ###\nFiles.\n\n### DESCRIPTION ###\nOne.\nTwo.\n\n"
        );
    }
}
