//! Placeholder for the first build; replaced by the room's own first commit.
