"""The vector indexes. `exact.py` and the families `approximate/` and `gpu/` have one file for each kind of index."""
