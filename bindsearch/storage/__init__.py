"""What a library has on disk: LMDB environment, ledger, manifest and settings."""
