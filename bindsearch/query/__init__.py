"""Words and files -> a search request -> query vectors."""
