"""Measures a space on labelled data sets: their readers, metrics, emergence and contamination."""
