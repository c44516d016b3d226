"""How good a space is on data with a known truth: readers, measures, emergence, contamination."""
