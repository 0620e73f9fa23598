//! Numbers that look random and are the same in every run.

use super::with;

pub(crate) fn bytes(count: u32) -> Vec<u8> {
    with(|world| (0..count).map(|_| next(&mut world.random_state)).collect())
}

/// One byte of a linear congruential generator (Knuth's MMIX constants).
fn next(state: &mut u64) -> u8 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 56) as u8
}
