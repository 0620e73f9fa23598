//! Which BuildKit is inside engines that cannot tell it: those before version 24.

use std::cmp::Ordering;

/// Ranges of engine versions, and the BuildKit inside; the first that fits counts. The ranges are buildx's, so that both
/// tools say the same: an upper bound `X-0` is below all of X, so what is between two rows ends in a later one.
const RELEASES: [(&str, &str); 35] = [
    (">=18.06.0-0 <18.06.1-0", "v0.0.0+9acf51e"),
    (">=18.06.1-0 <18.09.0-0", "v0.0.0+98f1604"),
    (">=18.09.0-0 <18.09.1-0", "v0.0.0+c7bb575"),
    (">=18.09.1-0 <18.10.0-0", "v0.3.3"),
    (">=18.10.0-0 <19.03.0-0", "v0.4.0+05766c5"),
    (">=18.10.0-0 <=19.03.0-beta2", "v0.4.0+b302896"),
    (">=18.10.0-0 <=19.03.0-beta3", "v0.4.0+8818c67"),
    (">=18.10.0-0 <=19.03.0-beta5", "v0.5.1+f238f1e"),
    (">=18.10.0-0 <19.03.2-0", "v0.5.1+1f89ec1"),
    (">=18.10.0-0 <=19.03.2-beta1", "v0.6.1"),
    (">=19.03.2-0 <19.03.3-0", "v0.6.1+588c73e"),
    (">=19.03.3-0 <19.03.5-beta2", "v0.6.2"),
    (">=18.10.0-0 <=19.03.5-rc1", "v0.6.2+ff93519"),
    (">=18.10.0-0 <=19.03.5", "v0.6.3+928f3b4"),
    (">=18.10.0-0 <=19.03.6-rc1", "v0.6.3+926935b"),
    (">=19.03.6-rc2 <19.03.7-0", "v0.6.3+57e8ad5"),
    (">=19.03.7-0 <19.03.9-0", "v0.6.4"),
    (">=19.03.9-0 <19.03.13-0", "v0.6.4+a7d7b7f"),
    (">=18.10.0-0 <=19.03.13-beta2", "v0.6.4+da1f4bf"),
    (">=18.10.0-0 <=19.03.14", "v0.6.4+df89d4d"),
    (">=18.10.0-0 <20.10.0", "v0.6.4+396bfe2"),
    (">=20.10.0-0 <=20.10.2-0", "v0.8.1"),
    (">=20.10.3-0 <20.10.4-0", "v0.8.1+68bb095"),
    (">=20.10.4-0 <=20.10.6", "v0.8.2"),
    (">=20.10.7-0 <=20.10.10-0", "v0.8.2+244e8cde"),
    (">=20.10.11-0 <=20.10.18-0", "v0.8.2+bc07b2b8"),
    (">=20.10.19-0 <20.10.20-0", "v0.8.2+3a1eeca5"),
    (">=20.10.20-0 <20.10.21-0", "v0.8.2+c0149372"),
    (">=20.10.21-0 <=20.10.23", "v0.8.2+eeb7b65"),
    (">=20.10.0-0 <20.11.0-0", "v0.8+unknown"),
    (">=22.06.0 <22.07.0", "v0.10.3"),
    (">=23.0.0-0 <23.0.1-0", "v0.10.6"),
    (">=23.0.1 <=23.0.1", "v0.10.6+4f0ee09"),
    (">=23.0.2-0 <23.0.4-0", "v0.10.6+70f2ad5"),
    (">=23.0.4-0 <23.0.7-0", "v0.10.6+d52b2d5"),
];
/// The first engine whose BuildKit tells its version.
const TELLING: u64 = 24;
/// Before engines were named after years they ended at 1.13; 2 begins another count, of today's.
const COUNTED_ANEW: std::ops::Range<u64> = 2..17;

/// The BuildKit inside an engine; absent when it can say so itself.
pub fn buildkit_of(engine: &str) -> Option<String> {
    let Some(version) = Version::parse(engine) else {
        return Some(own_name(engine));
    };
    let [major, ..] = version.numbers;
    if major >= TELLING || COUNTED_ANEW.contains(&major) {
        return None;
    }
    let row = RELEASES.iter().find(|(range, _)| version.is_in(range));
    Some(match row {
        Some((_, buildkit)) => (*buildkit).to_owned(),
        None if version.numbers >= [23, 0, 0] => "v0.10+unknown".to_owned(),
        None => own_name(engine),
    })
}

fn own_name(engine: &str) -> String {
    engine.strip_suffix("-moby").unwrap_or(engine).to_owned()
}

/// A version as engines write it; what follows a `+` counts for nothing.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    /// What follows a `-`, part by part; empty for a release.
    pre: Vec<Part>,
}

/// A part of what makes a version a pre-release: numbers come before words.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let text = text.split('+').next()?;
        let (release, pre) = match text.split_once('-') {
            Some((release, pre)) => (release, Some(pre)),
            None => (text, None),
        };
        let mut parts = release.split('.').map(str::parse);
        let mut number = || parts.next().unwrap_or(Ok(0)).ok();
        let numbers = [number()?, number()?, number()?];
        let part = |text: &str| {
            text.parse()
                .map_or_else(|_| Part::Word(text.to_owned()), Part::Number)
        };
        let pre = pre.into_iter().flat_map(|pre| pre.split('.')).map(part).collect();
        Some(Self { numbers, pre })
    }

    /// Whether it is within both bounds. A pre-release is only compared to bounds that are pre-releases themselves.
    fn is_in(&self, range: &str) -> bool {
        range.split(' ').all(|bound| {
            let text = bound.trim_start_matches(['<', '>', '=']);
            let Some(limit) = Self::parse(text) else {
                return false;
            };
            let comparable = self.pre.is_empty() || !limit.pre.is_empty();
            comparable
                && match (bound.strip_suffix(text), self.cmp(&limit)) {
                    (Some(">=" | "<="), Ordering::Equal) => true,
                    (Some(">="), order) => order == Ordering::Greater,
                    (_, order) => order == Ordering::Less,
                }
        })
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = self.numbers.cmp(&other.numbers);
        numbers.then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_engines_have_the_buildkit_that_they_were_built_with() {
        let cases = [
            ("17.12.0-ce", "17.12.0-ce"),
            ("18.06.1-ce", "v0.0.0+98f1604"),
            ("18.09.0", "v0.0.0+c7bb575"),
            ("18.09.9", "v0.3.3"),
            ("19.03.0-beta3", "v0.4.0+8818c67"),
            ("19.03.0-beta5", "v0.5.1+f238f1e"),
            ("19.03.1", "v0.5.1+1f89ec1"),
            ("19.03.2-beta1", "v0.6.1"),
            ("19.03.2", "v0.6.1+588c73e"),
            ("19.03.5-rc1", "v0.6.2+ff93519"),
            ("19.03.5", "v0.6.3+928f3b4"),
            ("19.03.6", "v0.6.3+57e8ad5"),
            ("19.03.8", "v0.6.4"),
            ("19.03.12", "v0.6.4+a7d7b7f"),
            ("19.03.14", "v0.6.4+df89d4d"),
            ("19.03.15", "v0.6.4+396bfe2"),
            ("20.10.1", "v0.8.1"),
            ("20.10.2", "v0.8+unknown"),
            ("20.10.3", "v0.8.1+68bb095"),
            ("20.10.6", "v0.8.2"),
            ("20.10.7", "v0.8.2+244e8cde"),
            ("20.10.10", "v0.8+unknown"),
            ("20.10.17", "v0.8.2+bc07b2b8"),
            ("20.10.18", "v0.8+unknown"),
            ("20.10.19", "v0.8.2+3a1eeca5"),
            ("20.10.20", "v0.8.2+c0149372"),
            ("20.10.23", "v0.8.2+eeb7b65"),
            ("20.10.24+dfsg1", "v0.8+unknown"),
            ("22.06.0", "v0.10.3"),
            ("23.0.0", "v0.10.6"),
            ("23.0.1", "v0.10.6+4f0ee09"),
            ("23.0.3", "v0.10.6+70f2ad5"),
            ("23.0.6", "v0.10.6+d52b2d5"),
            ("23.0.9", "v0.10+unknown"),
            ("dev-moby", "dev"),
        ];
        for (engine, buildkit) in cases {
            assert_eq!(buildkit_of(engine).as_deref(), Some(buildkit), "{engine}");
        }
        for engine in ["24.0.0", "24.0.0-rc.1", "29.1.3", "2.0.0-beta.24"] {
            assert_eq!(buildkit_of(engine), None, "{engine}");
        }
    }
}
