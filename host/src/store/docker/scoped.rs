//! Registry configurations that count only for some repositories and actions:
//! `config/<host>[/<repository>][@scope[,scope]]/config.json` in the store.

use std::path::{Path, PathBuf};

use super::config;

/// What a token is asked for: exactly one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Registry host; Docker Hub is `registry-1.docker.io`.
    pub host: String,
    /// Repository.
    pub repository: String,
    /// `pull`, `push` …
    pub actions: Vec<String>,
}

impl Scope {
    /// The scope of a token request; `None` unless the scopes (`repository:<name>:<actions>`) name one resource.
    pub fn of_request(host: &str, scopes: &[String]) -> Option<Self> {
        let mut found: Option<Self> = None;
        for scope in scopes {
            let (resource, actions) = scope.rsplit_once(':')?;
            let repository = resource.strip_prefix("repository:")?;
            let actions = actions.split(',').map(str::to_owned);
            match &mut found {
                Some(known) if known.repository == repository => known.actions.extend(actions),
                Some(_) => return None,
                None => {
                    found = Some(Self {
                        host: host.to_owned(),
                        repository: repository.to_owned(),
                        actions: actions.collect(),
                    });
                }
            }
        }
        found
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    repository: String,
    actions: Vec<String>,
    path: PathBuf,
}

/// The configuration file that replaces the docker client's own for `scope`, if there is one.
pub fn find(folder: &Path, scope: &Scope) -> Option<PathBuf> {
    let mut candidates: Vec<Candidate> = walkdir::WalkDir::new(folder)
        .min_depth(2)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name() == config::FILE && entry.file_type().is_file())
        .filter_map(|entry| candidate(folder, entry.path(), scope))
        .collect();
    candidates.sort_by(|a, b| {
        b.repository
            .cmp(&a.repository)
            .then(b.actions.len().cmp(&a.actions.len()))
            .then(a.path.cmp(&b.path))
    });
    candidates.into_iter().next().map(|candidate| candidate.path)
}

fn candidate(folder: &Path, path: &Path, scope: &Scope) -> Option<Candidate> {
    let name = path.parent()?.strip_prefix(folder).ok()?.to_str()?;
    let (place, actions) = name.split_once('@').unwrap_or((name, ""));
    let (host, repository) = place.split_once('/').unwrap_or((place, ""));
    let actions: Vec<String> = actions
        .split(',')
        .filter(|a| !a.is_empty())
        .map(str::to_owned)
        .collect();
    let fits = host == scope.host
        && (repository.is_empty() || repository == scope.repository)
        && actions.iter().all(|action| scope.actions.contains(action));
    fits.then(|| Candidate {
        repository: repository.to_owned(),
        actions,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_configuration_wins() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "h",
            "h@pull",
            "h/team/app",
            "h/team/app@pull,push",
            "other/team/app",
        ];
        for name in names {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("config.json"), "{}").unwrap();
        }
        let found = |scope: &str| {
            let scope = Scope::of_request("h", &[scope.to_owned()]).unwrap();
            let path = find(dir.path(), &scope).unwrap();
            path.parent()
                .unwrap()
                .strip_prefix(dir.path())
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            found("repository:team/app:pull,push"),
            Path::new("h/team/app@pull,push")
        );
        assert_eq!(found("repository:team/app:pull"), Path::new("h/team/app"));
        assert_eq!(found("repository:x:pull"), Path::new("h@pull"));
        assert_eq!(found("repository:x:push"), Path::new("h"));
        let two = ["repository:a:pull".to_owned(), "repository:b:pull".to_owned()];
        assert_eq!(Scope::of_request("h", &two), None);
    }
}
