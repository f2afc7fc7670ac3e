from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm

from drunet.errors import ModelError
from drunet.models import registry
from studies.histology_distillation.vision_transformer import ExactGelu, PatchSequence

SMALL = {"size": 32, "patch": 8, "width": 12, "depth": 2, "heads": 3, "mlp_ratio": 2.0}


def transformer(**options: Any) -> keras.Model:
    return registry.build("vision_transformer", **{**SMALL, **options})


def normal(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Layer normalisation."""
    scale, offset = weights
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * scale + offset


def attended(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Dosovitskiy et al. 2020, equations 5 to 8, a head at a time."""
    wq, bq, wk, bk, wv, bv, wo, bo = weights
    answer = np.zeros_like(x) + bo
    for head in range(wq.shape[1]):
        q, k, v = (x @ w[:, head] + b[head] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
        answer = answer + softmax(q @ k.swapaxes(1, 2) / np.sqrt(wq.shape[2]), axis=-1) @ v @ wo[head]
    return answer


def test_the_network_is_the_published_equations() -> None:
    model = transformer(normalise="none", seed=1)
    rng = np.random.default_rng(0)
    trunk = model.get_layer("transformer")
    trunk.set_weights([w + rng.normal(0, 0.2, w.shape) for w in trunk.get_weights()])  # no zeros, no ones
    image = rng.random((2, 32, 32, 3))
    kernel, bias = trunk.get_layer("patches").get_weights()
    patches = image.reshape(2, 4, 8, 4, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 16, 8 * 8 * 3)
    token, positions = trunk.get_layer("sequence").get_weights()
    x = np.concatenate([np.repeat(token, 2, axis=0), patches @ kernel.reshape(-1, 12) + bias], axis=1) + positions
    for block in ("block1", "block2"):

        def held(name: str, block: str = block) -> list[np.ndarray]:
            return trunk.get_layer(f"{block}_{name}").get_weights()

        x = x + attended(normal(x, held("norm1")), held("attention"))
        hidden = normal(x, held("norm2")) @ held("hidden")[0] + held("hidden")[1]
        x = x + hidden * norm.cdf(hidden) @ held("dense")[0] + held("dense")[1]
    x = normal(x, trunk.get_layer("norm").get_weights())
    np.testing.assert_allclose(np.asarray(trunk(image.astype(np.float32))), x, rtol=1e-3, atol=1e-4)
    kernel, bias = model.get_layer("probabilities").get_weights()
    expected = softmax(x[:, 0] @ kernel + bias, axis=-1)
    np.testing.assert_allclose(np.asarray(model(image.astype(np.float32))), expected, rtol=1e-4)


def test_dropout_stands_where_the_paper_has_it() -> None:
    names = [layer.name for layer in transformer(dropout=0.1).get_layer("transformer").layers]
    assert [n for n in names if "dropout" in n] == ["sequence_dropout"] + [
        f"block{b}_dropout{i}" for b in (1, 2) for i in (1, 2, 3)
    ]
    assert not [n for n in names if "attention_dropout" in n]
    assert not [layer for layer in transformer().get_layer("transformer").layers if "dropout" in layer.name]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch": 7}, ("'patch'", "divides the tile's 32 px")),
        ({"heads": 5}, ("'heads'", "divides the width, 12")),
        ({"depth": 0}, ("'depth'", "at least 1")),
        ({"width": 1.5}, ("'width'", "Write a whole number")),
        ({"mlp_ratio": 0}, ("'mlp_ratio'", "at least 0.1")),
    ],
)
def test_an_option_that_makes_no_transformer_is_refused(change: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        transformer(**change)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("layer", [PatchSequence(name="a"), ExactGelu(name="b")])
def test_its_layers_are_built_anew_from_what_is_saved(layer: keras.layers.Layer) -> None:
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is type(layer) and again.name == layer.name
    image = keras.KerasTensor((None, 3, 4, 5))
    assert again(image).shape == layer(image).shape
