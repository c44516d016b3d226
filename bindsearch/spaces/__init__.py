"""Spaces at work: media pieces to unit vectors; weight files, their licences and downloads."""
