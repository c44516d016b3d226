"""Exact search: scan int8 codes, then re-score within a proven error bound."""
