"""How networks learn: losses, and what is mended after training."""
