//! The catalog: one model, the seed JSON on `.catalog` and MSF on `catalog`.
