"""The toy space: deterministic, explainable, numpy only."""
