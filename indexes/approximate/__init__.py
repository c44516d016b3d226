"""Approximate search: candidate generators, the two-stage index, and measured recall."""
