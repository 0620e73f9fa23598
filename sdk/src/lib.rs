//! What a bkhost driver is written with.
