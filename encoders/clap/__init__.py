"""CLAP models."""
