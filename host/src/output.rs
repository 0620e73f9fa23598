//! What the user keeps: image ids, metadata files and exported results.

pub mod image_id;
pub mod layout_index;
pub mod metadata;
pub mod provenance;
