"""Network architectures: one file each, a pure builder function, and a registry by name. Keras 3, any backend."""
