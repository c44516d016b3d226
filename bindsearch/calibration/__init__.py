"""Scores -> E-values: background queries, whitening, null distribution."""
