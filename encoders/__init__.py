"""The encoders: one folder per family of spaces."""
