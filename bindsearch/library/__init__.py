"""One collection as a whole: open, index, search, tag, migrate, check, export."""
