"""What every room may use: paths, locks, atomic file writes, file state, vectors, progress, names."""
