"""The studies: what only they need."""
