"""Explanations: what a score is made of, why a file is not found, and the drawing of both."""
