"""Sets of labelled images on disk: which there are, which stem from one source, and how they are divided."""
