"""The indexes: one file per kind."""
