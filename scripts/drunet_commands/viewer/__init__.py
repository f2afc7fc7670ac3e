"""A local web viewer: slides with what was found on them, and outlines that are corrected there."""
