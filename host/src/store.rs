//! Builders on disk: the same files, format and lock as buildx.
