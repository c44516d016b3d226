"""Perceptual fingerprints that recognise copies."""
