//! The one door to the terminal: stdout is data, stderr is talk.
