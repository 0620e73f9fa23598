//! Which of a node's live daemons a build goes to.

use sha2::{Digest, Sha256};

/// How a node wants its builds spread over its daemons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Builds with the same key go to the same daemon; when daemons come or go, only the keys of those move.
    Sticky(String),
    /// Any of them.
    Random,
    /// The one with the fewest active builds.
    LeastLoaded,
}

impl Spread {
    /// Reads `policy` of a driver's placement; what it does not say, or says in an unknown word, is sticky by
    /// `affinity`.
    pub fn of(placement: &[(String, String)], affinity: &str) -> Self {
        let policy = placement.iter().find(|(key, _)| key == "policy");
        match policy.map(|(_, value)| value.as_str()) {
            Some("random") => Self::Random,
            Some("least-loaded") => Self::LeastLoaded,
            Some(word) => match word.strip_prefix("sticky:") {
                Some(key) => Self::Sticky(key.to_owned()),
                None => Self::Sticky(affinity.to_owned()),
            },
            None => Self::Sticky(affinity.to_owned()),
        }
    }
}

/// Picks one of `instances` by rendezvous hashing.
pub fn sticky<'a>(instances: &[&'a str], key: &str) -> Option<&'a str> {
    instances
        .iter()
        .max_by_key(|instance| weight(instance, key))
        .copied()
}

/// Picks one of `instances` by a throw of `dice`.
pub fn random<'a>(instances: &[&'a str], dice: u64) -> Option<&'a str> {
    let count = u64::try_from(instances.len()).ok().filter(|count| *count > 0)?;
    instances.get(usize::try_from(dice % count).ok()?).copied()
}

/// Picks the instance with the fewest builds, the first of equals; one whose load is not known comes last.
pub fn least_loaded<'a>(loads: &[(&'a str, Option<usize>)]) -> Option<&'a str> {
    let known = loads.iter().min_by_key(|(_, load)| load.unwrap_or(usize::MAX));
    known.map(|(instance, _)| *instance)
}

fn weight(instance: &str, key: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(instance);
    hash.update([0]);
    hash.update(key);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: [&str; 4] = ["a", "b", "c", "d"];

    fn sticky_one(instances: &[&'static str], key: &str) -> &'static str {
        sticky(instances, key).unwrap()
    }

    #[test]
    fn one_or_none_need_no_choice() {
        assert_eq!(random(&[], 7), None);
        assert_eq!(random(&["a"], 7), Some("a"));
        assert_eq!(random(&PODS, 6), Some("c"));
        assert_eq!(sticky(&[], "x"), None);
        assert_eq!(sticky_one(&["a"], "x"), "a");
    }

    #[test]
    fn the_least_loaded_is_the_first_of_equals() {
        assert_eq!(
            least_loaded(&[("a", Some(2)), ("b", Some(1)), ("c", Some(1))]),
            Some("b")
        );
        assert_eq!(least_loaded(&[("a", None), ("b", Some(9))]), Some("b"));
        assert_eq!(least_loaded(&[]), None);
    }

    #[test]
    fn sticky_keys_move_only_with_their_daemon() {
        let keys: Vec<String> = (0..200).map(|n| format!("/src/{n}")).collect();
        for key in &keys {
            let before = sticky_one(&PODS, key);
            let after = sticky_one(&["a", "b", "c"], key);
            assert!(before == after || before == "d");
        }
        for pod in PODS {
            let share = keys.iter().filter(|key| sticky_one(&PODS, key) == pod).count();
            assert!((20..80).contains(&share), "{pod} has {share} of 200");
        }
    }

    #[test]
    fn a_drivers_words_are_read() {
        let of = |value: &str| Spread::of(&[("policy".into(), value.into())], "/src");
        assert_eq!(of("random"), Spread::Random);
        assert_eq!(of("least-loaded"), Spread::LeastLoaded);
        assert_eq!(of("sticky:repo"), Spread::Sticky("repo".into()));
        assert_eq!(of("sticky"), Spread::Sticky("/src".into()));
        assert_eq!(of("unheard-of"), Spread::Sticky("/src".into()));
        assert_eq!(Spread::of(&[], "/src"), Spread::Sticky("/src".into()));
    }
}
