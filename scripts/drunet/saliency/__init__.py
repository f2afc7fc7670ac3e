"""Which parts of a picture a classifier's decision hangs on: gradients, integrated gradients and Grad-CAM."""
