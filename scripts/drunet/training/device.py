"""Where Keras computes: on the GPU that was asked for, or not at all."""

import keras

from drunet.errors import ProviderError


def need_gpu(asked: int) -> None:
    """Refuse to go on without a GPU where a job asked for some, as Keras would without a word; raises ProviderError."""
    try:
        seen = keras.distribution.list_devices("gpu")
    except RuntimeError:  # how JAX says that there is none
        seen = []
    if asked and not seen:
        what = "a GPU is asked for to train on, and Keras sees none"
        found = f"{keras.config.backend()} on {', '.join(keras.distribution.list_devices('cpu'))}"
        mend = "Install the driver and the `gpu` extra (`make GPU=1 env`), or choose the provider cpu."
        raise ProviderError(what, where="inference.provider", found=found, mend=mend)
