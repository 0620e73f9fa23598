//! Which of a node's live daemons a build goes to.

use sha2::{Digest, Sha256};

/// How a node wants its builds spread over its daemons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Builds with the same key go to the same daemon; when daemons come or go, only the keys of those move.
    Sticky(String),
    /// Any of them.
    Random,
}

impl Spread {
    /// Reads a driver's placement; what it does not say is sticky by `affinity`.
    pub fn of(placement: &[(String, String)], affinity: &str) -> Self {
        let strategy = placement
            .iter()
            .find(|(key, _)| key == "strategy" || key == "loadbalance");
        let word = strategy
            .or_else(|| placement.first())
            .map(|(key, value)| if value.is_empty() { key } else { value });
        match word.map(String::as_str) {
            Some("random") => Self::Random,
            Some(word) => match word.strip_prefix("sticky:") {
                Some(key) => Self::Sticky(key.to_owned()),
                None => Self::Sticky(affinity.to_owned()),
            },
            None => Self::Sticky(affinity.to_owned()),
        }
    }
}

/// Picks one of `instances` by rendezvous hashing or chance (`dice`); `None` when there is none.
pub fn choose<'a>(instances: &[&'a str], spread: &Spread, dice: u64) -> Option<&'a str> {
    match spread {
        Spread::Sticky(key) => instances
            .iter()
            .max_by_key(|instance| weight(instance, key))
            .copied(),
        Spread::Random => {
            let count = u64::try_from(instances.len()).ok().filter(|count| *count > 0)?;
            let index = usize::try_from(dice % count).ok()?;
            instances.get(index).copied()
        }
    }
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

    fn sticky(instances: &[&'static str], key: &str) -> &'static str {
        choose(instances, &Spread::Sticky(key.into()), 0).unwrap()
    }

    #[test]
    fn one_or_none_need_no_choice() {
        assert_eq!(choose(&[], &Spread::Random, 7), None);
        assert_eq!(choose(&["a"], &Spread::Random, 7), Some("a"));
        assert_eq!(sticky(&["a"], "x"), "a");
    }

    #[test]
    fn sticky_keys_move_only_with_their_daemon() {
        let keys: Vec<String> = (0..200).map(|n| format!("/src/{n}")).collect();
        for key in &keys {
            let before = sticky(&PODS, key);
            let after = sticky(&["a", "b", "c"], key);
            assert!(before == after || before == "d");
        }
        for pod in PODS {
            let share = keys.iter().filter(|key| sticky(&PODS, key) == pod).count();
            assert!((20..80).contains(&share), "{pod} has {share} of 200");
        }
    }

    #[test]
    fn a_drivers_words_are_read() {
        let of = |key: &str, value: &str| Spread::of(&[(key.into(), value.into())], "/src");
        assert_eq!(of("random", ""), Spread::Random);
        assert_eq!(of("strategy", "random"), Spread::Random);
        assert_eq!(of("sticky:repo", ""), Spread::Sticky("repo".into()));
        assert_eq!(of("sticky", ""), Spread::Sticky("/src".into()));
        assert_eq!(Spread::of(&[], "/src"), Spread::Sticky("/src".into()));
    }
}
