//! One file per command: its run function.
