//! What the user keeps: image ids, metadata files and exported results.
