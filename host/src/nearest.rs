//! Which known name a mistyped one was meant to be.

/// The `known` name nearest to `name`, if any is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.len().min(name.len()) / 4
                || candidate.starts_with(name) && name.len() > 2
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_offered() {
        let known = ["docker-container", "process", "remote"];
        assert_eq!(nearest("remot", known), Some("remote"));
        assert_eq!(nearest("proccess", known), Some("process"));
        assert_eq!(nearest("nomad", known), None);
    }
}
