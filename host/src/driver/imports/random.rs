//! Randomness.

use rand::TryRngCore;

use crate::driver::bindings::random::Host;
use crate::driver::limits::RANDOM_BYTES;
use crate::driver::state::View;

impl Host for View<'_> {
    async fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = vec![0; count.min(RANDOM_BYTES) as usize];
        rand::rngs::OsRng
            .try_fill_bytes(&mut bytes)
            .map_err(|error| wasmtime::Error::msg(format!("the system has no randomness: {error}")))?;
        Ok(bytes)
    }
}
