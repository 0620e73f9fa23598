//! Versions of the Docker Engine API.

use std::fmt;

use super::error::EngineError;

/// Newest version that is spoken.
pub const NEWEST: ApiVersion = ApiVersion(1, 55);
/// Oldest version that is spoken.
pub const OLDEST: ApiVersion = ApiVersion(1, 40);

/// A version of the API: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(u32, u32);

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl ApiVersion {
    /// The version that `DOCKER_API_VERSION` fixes.
    pub fn pinned(text: &str) -> Result<Self, EngineError> {
        Self::parse(text.strip_prefix('v').unwrap_or(text)).ok_or_else(|| EngineError::Version {
            text: text.to_owned(),
        })
    }

    /// The version to speak with an engine whose ping says it has `told`.
    pub fn agreed(told: Option<&str>) -> Result<Self, EngineError> {
        let Some(told) = told.filter(|told| !told.is_empty()) else {
            return Ok(NEWEST);
        };
        let version = Self::parse(told).ok_or_else(|| EngineError::Version {
            text: told.to_owned(),
        })?;
        if version < OLDEST {
            return Err(EngineError::OldVersion {
                version: version.to_string(),
                minimum: OLDEST.to_string(),
            });
        }
        Ok(version.min(NEWEST))
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok())?
        };
        Some(Self(number(major)?, number(minor)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_both_versions_is_spoken() {
        for (told, agreed) in [
            (None, "1.55"),
            (Some(""), "1.55"),
            (Some("1.40"), "1.40"),
            (Some("1.41"), "1.41"),
            (Some("1.55"), "1.55"),
            (Some("1.56"), "1.55"),
            (Some("2.0"), "1.55"),
        ] {
            assert_eq!(ApiVersion::agreed(told).unwrap().to_string(), agreed, "{told:?}");
        }
        assert_eq!(
            ApiVersion::agreed(Some("1.39")).unwrap_err().to_string(),
            "API version 1.39 is not supported by this client: the minimum supported API version is 1.40"
        );
        assert!(ApiVersion::agreed(Some("new")).is_err());
    }

    #[test]
    fn a_pinned_version_may_begin_with_a_letter() {
        assert_eq!(ApiVersion::pinned("v1.41").unwrap().to_string(), "1.41");
        assert_eq!(ApiVersion::pinned("1.30").unwrap().to_string(), "1.30");
        for text in ["", "v", "1", "1.x", "1.+4", "vv1.4", "1.4.1"] {
            assert_eq!(
                ApiVersion::pinned(text).unwrap_err().to_string(),
                format!("invalid API version ({text}): must be formatted <major>.<minor>")
            );
        }
    }
}
