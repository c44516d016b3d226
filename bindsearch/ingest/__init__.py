"""Folders -> ledger: scan, identify, decode, encode, commit."""
