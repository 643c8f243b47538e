"""Models on a lane: kept in a store, signed, tried in a process of their own, made active, and taken back."""
