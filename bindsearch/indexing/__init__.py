"""Ledger -> vector indexes that follow its log."""
