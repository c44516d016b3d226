"""The built-in `pocket` space, and spaces with a sound tower that the user trained."""
