"""Shared by encoders: device choice, weight files, lazily loaded towers."""
