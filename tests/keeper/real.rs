//! A real buildkitd under the keeper.
