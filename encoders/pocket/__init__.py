"""The built-in space: three small towers trained by this project."""
