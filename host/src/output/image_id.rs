//! The id of the built image, printed by `--quiet` and written by `--iidfile`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::fs::{FileError, PUBLIC_FILE, write_beside};

/// The id of what was exported: of the image's configuration if the result is one image, else of manifest or index;
/// empty when nothing was exported.
pub fn image_id(response: &BTreeMap<String, String>) -> &str {
    const PREFERRED: [&str; 2] = ["containerimage.config.digest", "containerimage.digest"];
    PREFERRED
        .iter()
        .find_map(|key| response.get(*key))
        .map_or("", String::as_str)
}

/// Removes what an earlier build left, so that a failed one leaves no id behind.
///
/// # Errors
///
/// The file is there and cannot be removed.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Writes the id without a newline.
///
/// # Errors
///
/// The file cannot be written.
pub fn write(path: &Path, response: &BTreeMap<String, String>) -> Result<(), FileError> {
    write_beside(path, image_id(response).as_bytes(), PUBLIC_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn one_image_has_the_id_of_its_configuration() {
        let both = response(&[
            ("containerimage.config.digest", "sha256:c"),
            ("containerimage.digest", "sha256:d"),
        ]);
        assert_eq!(image_id(&both), "sha256:c");
        assert_eq!(
            image_id(&response(&[("containerimage.digest", "sha256:d")])),
            "sha256:d"
        );
        assert_eq!(image_id(&response(&[])), "");
    }

    #[test]
    fn the_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("iid");
        remove(&path).unwrap();
        write(&path, &response(&[("containerimage.digest", "sha256:d")])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "sha256:d");
        remove(&path).unwrap();
        assert!(!path.exists());
        assert!(remove(dir.path()).is_err());
    }
}
