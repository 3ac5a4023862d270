//! Ordered maps and sets, under the names that the standard library gives them.
//!
//! | build | what they are |
//! |---|---|
//! | all others | `std::collections` |
//! | `wasm32`, or the feature `compact` | [`compact`]: sorted vectors, a fifth of the code |
//!
//! Half of a module for pages would be B-trees otherwise: the standard library's are compiled anew for
//! each pair of types, and core has a hundred of them. A page holds one session, so its maps are small.
//! Both behave alike: each method is held to the standard library's by random sequences of operations, and
//! core's tests pass with the feature.

#[cfg(any(target_arch = "wasm32", feature = "compact", test))]
#[cfg_attr(
    all(test, not(any(target_arch = "wasm32", feature = "compact"))),
    expect(
        unreachable_pub,
        unused_imports,
        reason = "public with the feature, compared without it"
    )
)]
mod compact;
#[cfg(test)]
mod tests;

#[cfg(any(target_arch = "wasm32", feature = "compact"))]
pub use compact::{BTreeMap, BTreeSet, btree_map};
#[cfg(not(any(target_arch = "wasm32", feature = "compact")))]
pub use std::collections::{BTreeMap, BTreeSet, btree_map};
