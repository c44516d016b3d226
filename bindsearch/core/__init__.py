"""Ground floor: paths, locks, atomic file writes, file state, vectors, progress, names."""
