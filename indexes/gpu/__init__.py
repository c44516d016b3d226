"""Indexes on GPUs: torch and FAISS."""
