"""The encoders: one file per family of spaces."""
