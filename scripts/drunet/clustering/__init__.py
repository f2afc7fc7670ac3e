"""Tissue classes found among labelled tiles: an evolutionary search for clusters, its validity, classes to learn."""
