"""Perceptual fingerprints that recognise modified copies of images and sounds."""
