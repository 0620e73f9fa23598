//! The engine configuration shared by the host and the ahead-of-time compiler.
