"""Sets of pictures, drawn in code, that studies run on where no data are named."""
