//! Platforms in the narrow column of a table: the best known ones by name, families with a count, the rest as a number.

use crate::platform::Platform;

/// Families that are shown first.
const MAJOR: &[&str] = &[
    "linux/amd64",
    "linux/arm64",
    "linux/arm",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/mips64",
];
/// How many families are shown.
const SHOWN: usize = 4;

/// Fixed platforms first, then those of the workers, each once.
pub fn merged(fixed: &[Platform], workers: &[Platform]) -> Vec<Platform> {
    let mut all: Vec<Platform> = Vec::new();
    for platform in fixed.iter().chain(workers) {
        let platform = platform.clone().normalized();
        if !all.contains(&platform) {
            all.push(platform);
        }
    }
    all
}

/// All platforms; fixed ones have a star.
pub fn full(all: &[Platform], fixed: &[Platform]) -> String {
    all.iter()
        .map(|platform| starred(platform, fixed))
        .collect::<Vec<_>>()
        .join(", ")
}

/// At most four families; see the module.
pub fn short(all: &[Platform], fixed: &[Platform]) -> String {
    let families = families(all);
    let major = families.iter().filter(|(name, _)| is_major(name)).count();
    let mut shown = Vec::new();
    let mut counted = 0;
    for (position, (name, members)) in families.iter().take(SHOWN).enumerate() {
        let fills_the_last_place = position + 1 == SHOWN && major >= SHOWN;
        match members.as_slice() {
            [first, ..] if members.len() == 1 || fills_the_last_place => {
                shown.push(starred(first, fixed));
                counted += 1;
            }
            members => {
                let star = if members.iter().any(|member| is_fixed(member, fixed)) {
                    "*"
                } else {
                    ""
                };
                shown.push(format!("{name}{star} (+{})", members.len()));
                counted += members.len();
            }
        }
    }
    if counted < all.len() {
        shown.push(format!("({} more)", all.len() - counted));
    }
    shown.join(", ")
}

/// Platforms by `os/arch`: major families in their order, then the others by name.
fn families(all: &[Platform]) -> Vec<(String, Vec<&Platform>)> {
    let mut families: Vec<(String, Vec<&Platform>)> = Vec::new();
    for platform in all {
        let name = format!("{}/{}", platform.os, platform.architecture);
        match families.iter_mut().find(|(other, _)| *other == name) {
            Some((_, members)) => members.push(platform),
            None => families.push((name, vec![platform])),
        }
    }
    let rank = |name: &str| {
        MAJOR
            .iter()
            .position(|major| *major == name)
            .unwrap_or(MAJOR.len())
    };
    families.sort_by(|a, b| rank(&a.0).cmp(&rank(&b.0)).then(a.0.cmp(&b.0)));
    families
}

fn is_major(name: &str) -> bool {
    MAJOR.contains(&name)
}

fn is_fixed(platform: &Platform, fixed: &[Platform]) -> bool {
    fixed.iter().any(|other| other.same(platform))
}

fn starred(platform: &Platform, fixed: &[Platform]) -> String {
    let star = if is_fixed(platform, fixed) { "*" } else { "" };
    format!("{platform}{star}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(list: &str) -> (String, String) {
        let mut fixed = Vec::new();
        let mut all = Vec::new();
        for item in list.split(", ") {
            let platform: Platform = item.trim_end_matches('*').parse().unwrap();
            if item.ends_with('*') {
                fixed.push(platform.clone());
            }
            all.push(platform);
        }
        let all = merged(&fixed, &all);
        (short(&all, &fixed), full(&all, &fixed))
    }

    #[test]
    fn families_are_counted() {
        let list = "linux/arm64*, linux/amd64, linux/amd64/v2, linux/riscv64, linux/ppc64le, linux/s390x, linux/386, linux/mips64le, linux/mips64, linux/arm/v7, linux/arm/v6";
        let (short, full) = summary(list);
        assert_eq!(
            short,
            "linux/amd64 (+2), linux/arm64*, linux/arm (+2), linux/ppc64le, (5 more)"
        );
        assert_eq!(full, list);
    }

    #[test]
    fn few_platforms_are_all_shown() {
        assert_eq!(summary("linux/arm64*, linux/386").0, "linux/arm64*, linux/386");
        assert_eq!(
            summary("linux/amd64*, linux/amd64/v2, linux/amd64/v3, linux/386").0,
            "linux/amd64* (+3), linux/386"
        );
    }

    #[test]
    fn the_last_place_among_major_families_takes_one_member() {
        assert_eq!(
            summary("linux/amd64, linux/arm64, linux/s390x, linux/arm/v7, linux/arm/v6, linux/ppc64le").0,
            "linux/amd64, linux/arm64, linux/arm (+2), linux/ppc64le, (1 more)"
        );
    }
}
