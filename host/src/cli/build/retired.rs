//! Flags of `docker build` from before BuildKit: taken, as buildx takes them, and without effect.

use clap::Args;

use super::csv;
use super::value::ValueError;

/// What of them was typed.
#[derive(Args, Clone, Debug, Default)]
pub struct RetiredFlags {
    /// Contexts are sent as they are needed
    #[arg(long, hide = true)]
    compress: bool,

    /// There are no containers left to remove
    #[arg(long, hide = true)]
    force_rm: bool,

    /// There are no containers left to remove
    #[arg(long, hide = true)]
    rm: bool,

    /// Without effect
    #[arg(long, hide = true, value_name = "TECHNOLOGY")]
    isolation: Option<String>,

    /// Without effect
    #[arg(long, hide = true, value_name = "OPTION")]
    security_opt: Vec<String>,

    /// Without effect
    #[arg(long, hide = true)]
    squash: bool,
}

impl RetiredFlags {
    /// What to warn of, in the words of buildx: whoever types these expects something that does not happen.
    ///
    /// # Errors
    ///
    /// When a list is no CSV record.
    pub fn warnings(&self) -> Result<Vec<&'static str>, ValueError> {
        for value in self.security_opt.iter().filter(|value| !value.is_empty()) {
            csv::fields(value).map_err(|error| error.of_flag("--security-opt", value))?;
        }
        let warnings = [
            (
                self.isolation.is_some(),
                "isolation flag is deprecated with BuildKit.",
            ),
            (
                !self.security_opt.is_empty(),
                "security-opt flag is deprecated. \"RUN --security=insecure\" should be used with BuildKit.",
            ),
            (
                self.squash,
                "experimental flag squash is removed with BuildKit. You should squash inside build using a multi-stage Dockerfile for efficiency.",
            ),
        ];
        let typed = warnings.into_iter().filter(|(typed, _)| *typed);
        Ok(typed.map(|(_, warning)| warning).collect())
    }
}
