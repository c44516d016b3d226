"""What is on disk: the LMDB environment, the ledger, the manifest."""
