"""Query vectors -> candidates -> items -> one ranked list."""
