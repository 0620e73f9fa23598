//! When a builder was used last.

use jiff::Timestamp;

use super::{Store, StoreError};
use crate::fs;

impl Store {
    /// Time of last use of `builder`, spelled as in its record; `None` when unknown or unreadable.
    pub fn activity(&self, builder: &str) -> Option<Timestamp> {
        let data = fs::read_if_exists(&self.layout.activity(builder)).ok()??;
        std::str::from_utf8(&data).ok()?.trim().parse().ok()
    }

    /// Stamps `builder` as used now; a store that may not be written is left alone.
    pub fn touch(&self, builder: &str) -> Result<(), StoreError> {
        let text = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        match self.layout.write(&self.layout.activity(builder), text.as_bytes()) {
            Err(error) if !super::is_read_only(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;

    #[test]
    fn activity_has_whole_seconds() {
        let (_dir, store) = store();
        assert_eq!(store.activity("a"), None);
        store.touch("a").unwrap();
        let text = std::fs::read_to_string(store.layout().activity("a")).unwrap();
        assert_eq!(text.len(), "2026-08-01T10:11:12Z".len());
        assert_eq!(store.activity("a").unwrap().to_string(), text);
        std::fs::write(store.layout().activity("a"), "bad").unwrap();
        assert_eq!(store.activity("a"), None);
    }
}
