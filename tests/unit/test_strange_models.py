"""Models of others: taken with the right answers, or refused in one line that says what to set."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from strange_onnx import BYTE, DOUBLE, HALF, SIDE, N, beside, classifier, endless, refiner
from tiny_onnx import SIZE, by_hand

from drunet.errors import ModelError
from drunet.export import adoption
from drunet.export.adoption import adopt
from drunet.export.decide import decide
from drunet.export.digests import content_digest, ends_digest, external_files, model_digest
from drunet.inference import EngineOptions, Layout, check_classifier, open_session, probabilities
from drunet.refine import refine, refiner_size
from drunet.report.card import write_finished_card
from drunet.settings.finished import FinishedModel

TILES = np.random.default_rng(5).integers(0, 256, (7, SIZE, SIZE, 3), np.uint8)
SOFTMAX = N("Softmax", ["logits"], ["p"], axis=-1)
LOGITS = [N("Identity", ["logits"], ["p"])]
ODDS = by_hand(TILES)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try models in this process: starting another costs half a second."""
    monkeypatch.setattr(adoption, "_tried", lambda asked, _: decide(asked))


def take(source: Path, role: str = "classifier", seconds: float = 120, **settings: Any) -> tuple[Path, dict[str, Any]]:
    target = source.with_name("results") / "model.onnx"
    model = FinishedModel.of({"onnx": str(source), **settings}, "m")
    return target, adopt(source, target, name="guest", role=role, size=SIZE, settings=model, seconds=seconds)


def answer(model: Path, **settings: Any) -> np.ndarray:
    """What the workflow reads from an adopted classifier, with the settings that it goes by then."""
    session = open_session(model, EngineOptions(threads=1), where="guest")
    layout = Layout(settings.get("channels_last", True), settings.get("scale", 1.0), settings.get("tumour_index", 1))
    return probabilities(session, check_classifier(session, layout, SIZE, where="g"), TILES, layout, "g")


def sigmoid(name: str = "logits", result: str = "p") -> Any:
    return N("Sigmoid", [name], [result])


# Of what is taken: the file, the settings that it needs, and what was added to it.
TAKEN: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "as it is": ({}, {}, False),
    "batch of one": ({"shape": [1, SIZE, SIZE, 3]}, {}, False),
    "batch of four": ({"shape": [4, SIZE, SIZE, 3]}, {}, False),
    "batch of thirty-two": ({"shape": [32, SIZE, SIZE, 3]}, {}, False),
    "half precision": ({"kind": HALF}, {}, False),
    "double precision": ({"kind": DOUBLE}, {}, False),
    "whole numbers": ({"kind": BYTE}, {}, False),
    "whole numbers, batch of three": ({"kind": BYTE, "shape": [3, SIZE, SIZE, 3]}, {}, False),
    "half precision, scaled": ({"kind": HALF, "scale": 1 / 255}, {"scale": 1 / 255}, False),
    "channels first": ({"channels_last": False}, {"channels_last": False}, False),
    "all axes open": ({"shape": ["n", "a", "b", "c"]}, {}, False),
    "channels first, all open": (
        {"channels_last": False, "shape": ["n", "c", "h", "w"]},
        {"channels_last": False},
        False,
    ),
    "embedding first": (
        {"tail": [sigmoid("product", "e"), SOFTMAX], "outputs": {"e": ["n", 2], "p": ["n", 2]}},
        {},
        True,
    ),
    "two heads": (
        {"tail": [SOFTMAX, N("Softmax", ["product"], ["q"], axis=-1)], "outputs": {"q": ["n", 2], "p": ["n", 2]}},
        {"output": "p"},
        True,
    ),
    "logits": ({"tail": LOGITS}, {"activation": "softmax"}, True),
    "logits and an embedding": (
        {"tail": [N("Identity", ["mean"], ["e"]), *LOGITS], "outputs": {"e": ["n", 3], "p": ["n", 2]}},
        {"activation": "softmax", "output": "p"},
        True,
    ),
    "a class for each": ({"tail": [sigmoid()]}, {"activation": "none"}, True),
    "logit for each": ({"tail": LOGITS}, {"activation": "sigmoid"}, True),
    "one column": ({"tail": [sigmoid()], "classes": 1}, {}, True),
    "one column, index 0": ({"tail": [sigmoid()], "classes": 1}, {"tumour_index": 0}, False),
    "one logit": ({"tail": LOGITS, "classes": 1}, {"activation": "sigmoid"}, True),
    "one number per tile": (
        {
            "tail": [sigmoid(result="s"), N("Squeeze", ["s", "last"], ["p"])],
            "classes": 1,
            "more": {"last": np.array([1])},
            "outputs": {"p": ["n"]},
        },
        {},
        True,
    ),
    "maps of one pixel": (
        {
            "tail": [N("Softmax", ["logits"], ["s"], axis=-1), N("Unsqueeze", ["s", "two"], ["p"])],
            "more": {"two": np.array([2, 3])},
            "outputs": {"p": ["n", 2, 1, 1]},
        },
        {},
        True,
    ),
    "half answers": ({"tail": [N("Softmax", ["logits"], ["s"]), N("Cast", ["s"], ["p"], to=HALF)]}, {}, True),
    "older opset": ({"opset": 18, "ir": 8}, {}, False),
}


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.usefixtures("at_once")
def test_a_classifier_of_others_gives_its_probabilities(tmp_path: Path, name: str) -> None:
    made, settings, changed = TAKEN[name]
    source = classifier(tmp_path / "net.onnx", **made)
    if name == "half answers":
        _retype(source, HALF)
    target, facts = take(source, **settings)
    np.testing.assert_allclose(answer(target, **settings), ODDS, atol=2e-3 if "half" in name else 1e-5)
    assert bool(facts["decided"]["changed"]) == changed
    assert (target.read_bytes() == source.read_bytes()) == (not changed)


def test_a_batch_that_is_fixed_gives_what_a_free_one_gives(tmp_path: Path) -> None:
    free = open_session(classifier(tmp_path / "free.onnx"), EngineOptions(threads=1), where="m")
    for batch in (1, 2, 5, 7, 32):
        path = classifier(tmp_path / f"{batch}.onnx", shape=[batch, SIZE, SIZE, 3])
        fixed = open_session(path, EngineOptions(threads=1), where="m")
        for rows in (1, 4, 7):
            here, there = (probabilities(s, "tiles", TILES[:rows], Layout(), "m") for s in (fixed, free))
            np.testing.assert_allclose(here, there, atol=1e-6)
            assert here.shape == (rows,) and here.dtype == np.float32


SMALL = 1e-3
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "logits": ({"tail": LOGITS}, {}, r"no probabilities.*rows sum to.*`activation: softmax` or `sigmoid`"),
    "small logits": (
        {"tail": [N("Add", ["logits", "lift"], ["p"])], "gain": SMALL, "more": {"lift": np.float32([0.3])}},
        {},
        r"no probabilities.*activation",
    ),
    "small logits that sum to 1": (
        {
            "tail": [
                N("MatMul", ["logits", "pair"], ["both"]),
                N("Add", ["both", "half"], ["p"]),
            ],
            "gain": SMALL,
            "more": {"pair": np.float32([[0, 0], [-1, 1]]), "half": np.float32([0.5])},
        },
        {},
        r"no probabilities.*activation",
    ),
    "one small logit": (
        {
            "tail": [N("Add", ["logits", "half"], ["p"])],
            "classes": 1,
            "gain": SMALL,
            "more": {"half": np.float32([0.5])},
        },
        {},
        r"no probabilities.*activation",
    ),
    "logarithms": ({"tail": [N("LogSoftmax", ["logits"], ["p"])]}, {}, r"no probabilities"),
    "a class for each": ({"tail": [sigmoid()]}, {}, r"no probabilities.*`activation: none`"),
    "softmax over the batch": ({"tail": [N("Softmax", ["logits"], ["p"], axis=0)]}, {}, r"no probabilities"),
    "softmax twice": ({}, {"activation": "softmax"}, r"probabilities already.*Leave out `activation`"),
    "sigmoid twice": ({"tail": [sigmoid()], "classes": 1}, {"activation": "sigmoid"}, r"probabilities already"),
    "percent": (
        {"tail": [N("Softmax", ["logits"], ["s"]), N("Mul", ["s", "c"], ["p"])], "more": {"c": np.float32([100])}},
        {},
        r"no probabilities",
    ),
    "NaN": ({"more": {"offset": np.float32([0, np.nan])}}, {}, r"not finite"),
    "two heads": (
        {"tail": [SOFTMAX, N("Softmax", ["product"], ["q"])], "outputs": {"q": ["n", 2], "p": ["n", 2]}},
        {},
        r"several outputs.*q, p.*`output: q`",
    ),
    "embeddings only": (
        {
            "tail": [N("Identity", ["mean"], ["e"]), N("Neg", ["mean"], ["p"])],
            "outputs": {"e": ["n", 3], "p": ["n", 3]},
        },
        {},
        r"no output of the model holds probabilities.*`output`",
    ),
    "no such output": ({}, {"output": "prob"}, r"guest\.output: .*no such output \(found: prob\).*It has p"),
    "a size": ({}, {"size": 64}, r"guest\.size: a classifier takes tiles of one size"),
    "a scale": ({}, {"mpp": 8.0}, r"guest\.mpp: a classifier takes tiles of one resolution.*tiles\.mpp"),
    "names for inputs": ({}, {"inputs": ["tiles"]}, r"guest\.inputs: a classifier takes one input"),
    "another input": (
        {"inputs": {"age": ["n", 1]}, "tail": [N("Add", ["logits", "age"], ["l"]), N("Softmax", ["l"], ["p"])]},
        {},
        r"does not take the tiles.*age",
    ),
    "one row": (
        {
            "tail": [N("ReduceMean", ["logits", "first"], ["one"], keepdims=1), N("Softmax", ["one"], ["p"])],
            "more": {"first": np.array([0])},
            "outputs": {"p": [1, 2]},
        },
        {},
        r"does not answer one row per tile \(found: \[1, 2\] for 8\)",
    ),
    "rows that look at each other": (
        {
            "tail": [
                N("ReduceMean", ["logits", "first"], ["m"], keepdims=1),
                N("Sub", ["logits", "m"], ["d"]),
                N("Softmax", ["d"], ["p"]),
            ],
            "more": {"first": np.array([0])},
        },
        {},
        r"depends on the other tiles",
    ),
    "chance": (
        {
            "tail": [
                N("RandomNormalLike", ["logits"], ["r"], scale=3.0),
                N("Add", ["logits", "r"], ["l"]),
                N("Softmax", ["l"], ["p"]),
            ]
        },
        {},
        r"or on chance",
    ),
    "a map per tile": (
        {"tail": [N("Softmax", ["weighted"], ["p"])], "outputs": {"p": ["n", 8, 8, 3]}},
        {},
        r"one row per",
    ),
    "the wrong scale": ({"scale": 1e-5}, {}, r"the same answer.*Check `scale`"),
    "three classes": ({"classes": 3}, {}, r"more than two classes \(found: 3\).*tumour_index"),
    "no third class": ({}, {"tumour_index": 2}, r"no class probabilities.*tumour at index 2"),
    "scaled whole numbers": ({"kind": BYTE}, {"scale": 1 / 255}, r"leave out `scale`"),
    "channels first": ({"channels_last": False}, {}, r"does not take the tiles.*channels_last"),
    "channels first, all open": (
        {"channels_last": False, "shape": ["n", "c", "h", "w"]},
        {},
        r"does not take the tiles.*Set `channels_last: false`",
    ),
    "channels last, all open": (
        {"shape": ["n", "c", "h", "w"]},
        {"channels_last": False},
        r"does not take the tiles.*Set `channels_last: true`",
    ),
    "another size": (
        {"shape": ["n", 9, 9, 3], "more": {"rows": np.float32([1])}},
        {},
        r"does not take the tiles.*tiles\.size",
    ),
    "grey": (
        {"shape": ["n", SIZE, SIZE, 1], "more": {"columns": np.ones((1, 2), np.float32)}},
        {},
        r"does not take the tiles",
    ),
    "a type of its own": ({"kind": 16}, {}, r"does not take the tiles|cannot be loaded"),
    "an opset to come": ({"opset": 99}, {}, r"cannot be loaded.*Export it for an older opset"),
    "an IR version to come": ({"ir": 99}, {}, r"cannot be loaded.*older opset or IR version"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("at_once")
def test_a_classifier_that_cannot_be_trusted_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    made, settings, message = REFUSED[name]
    source = classifier(tmp_path / "Frau-Kummer.onnx", **made)
    with pytest.raises(ModelError, match=message) as caught:
        take(source, **settings)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 700 and "Kummer" not in said and said.startswith("guest")
    assert not (tmp_path / "results" / "model.onnx").exists() and not list((tmp_path / "results").glob(".*"))


def test_a_model_that_runs_either_way_round_is_asked_about(tmp_path: Path) -> None:
    tail = [
        N("Reshape", ["single", "flat"], ["pixels"]),
        N("ReduceMean", ["pixels", "last"], ["grey"], keepdims=1),
        N("Mul", ["grey", "slope"], ["g"]),
        N("Sigmoid", ["g"], ["p"]),
    ]
    more = {"flat": np.array([0, -1]), "last": np.array([1]), "slope": np.float32([0.01]), "rows": np.float32([1])}
    options: dict[str, Any] = {"tail": tail, "more": more, "shape": ["n", "a", "b", "c"], "outputs": {"p": ["n", 1]}}
    # Nothing else of the graph may stand in the way of the other order.
    source = classifier(tmp_path / "net.onnx", **options)
    _keep(source, ("single", "pixels", "grey", "g", "p"))
    with pytest.raises(ModelError, match=r"either order of its axes.*Set `channels_last`"):
        take(source)
    take(source, channels_last=True)


@pytest.mark.slow
def test_a_graph_without_an_end_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"guest: the model did not end \(found: 4 s"):
        take(endless(tmp_path / "net.onnx"), seconds=4)


def test_a_graph_that_asks_for_all_memory_is_refused(tmp_path: Path) -> None:
    tail = [
        N("ConstantOfShape", ["huge"], ["zeros"]),
        N("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        N("Add", ["logits", "zero"], ["l"]),
        N("Softmax", ["l"], ["p"]),
    ]
    source = classifier(tmp_path / "net.onnx", tail=tail, more={"huge": np.array([1 << 20, 1 << 20])})
    with pytest.raises(ModelError, match="guest: "):
        take(source)


# Refiners

IMAGE = np.random.default_rng(8).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
HEAT = np.random.default_rng(9).random((SIDE, SIDE), np.float32)
REFINED = HEAT * (0.5 + 0.5 * IMAGE.mean(2) / 255)
FIRST = {"channels_last": False}
OPEN = {"side": "s", "outputs": {"p": ["n", "s", "s", 2]}}

TAKEN_REFINERS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "as it is": ({}, {}, False),
    "half precision": ({"kind": HALF}, {}, False),
    "double precision": ({"kind": DOUBLE}, {}, False),
    "batch of one": ({"batch": 1}, {}, False),
    "batch of four": ({"batch": 4}, {}, False),
    "scaled": ({"scale": 1 / 255}, {"scale": 1 / 255}, True),
    "scaled, half": ({"scale": 1 / 255, "kind": HALF}, {"scale": 1 / 255}, True),
    "other names": ({"names": ("thumbnail", "gradient")}, {}, True),
    "other names, other order by name": ({"names": ("a", "b")}, {"inputs": ["a", "b"]}, True),
    "one picture of four channels": ({"joined": True, "names": ("rgb", "heatmap")}, {}, True),
    "four channels, scaled, half, an open side": (
        {**OPEN, "joined": True, "names": ("rgb", "heatmap"), "scale": 1 / 255, "kind": HALF},
        {"scale": 1 / 255, "size": SIDE},
        True,
    ),
    "four channels first": ({**FIRST, "joined": True, "names": ("rgb", "heatmap")}, FIRST, True),
    "channels first": (FIRST, FIRST, True),
    "channels first, scaled, batch of two": (
        {**FIRST, "scale": 1 / 255, "batch": 2},
        {**FIRST, "scale": 1 / 255},
        True,
    ),
    "tumour first": ({"tail": [N("Concat", ["tumour", "background"], ["p"], axis=3)]}, {"tumour_index": 0}, True),
    "an open side": (OPEN, {"size": SIDE}, True),
    "open sides of two names": ({**OPEN, "side": None}, {"size": SIDE}, True),
    "an open side, channels first, scaled, half": (
        {**OPEN, **FIRST, "scale": 1 / 255, "kind": HALF},
        {**FIRST, "scale": 1 / 255, "size": SIDE},
        True,
    ),
    "a side that is set as it is": ({}, {"size": SIDE}, False),
    "three classes": (
        {
            "tail": [
                N("Mul", ["background", "half"], ["rest"]),
                N("Concat", ["rest", "rest", "tumour"], ["p"], axis=3),
            ],
            "outputs": {"p": ["n", SIDE, SIDE, 3]},
        },
        {"tumour_index": 2},
        True,
    ),
    "one map": (
        {
            "tail": [N("Max", ["tumour", "nought"], ["above"]), N("Min", ["above", "one"], ["p"])],
            "outputs": {"p": ["n", SIDE, SIDE, 1]},
        },
        {"activation": "none"},
        True,
    ),
    "deep supervision": (
        {
            "tail": [
                N("Concat", ["background", "tumour"], ["p"], axis=3),
                N("AveragePool", ["p"], ["low"], kernel_shape=[2, 1], strides=[2, 1]),
            ],
            "outputs": {"low": ["n", SIDE // 2, SIDE, 2], "p": ["n", SIDE, SIDE, 2]},
        },
        {},
        True,
    ),
}
REFUSED_REFINERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "not scaled": ({"scale": 1 / 255}, {}, r"no probabilities"),
    "logits": ({"tail": [N("Concat", ["tumour", "heat"], ["p"], axis=3)]}, {}, r"no probabilities.*activation"),
    "an open side": ({"side": "s"}, {}, r"does not state the side.*Set `size`"),
    "another side than is set": ({}, {"size": SIDE * 2}, r"takes no square of that side"),
    "an open side, whose map is half as high": (
        {
            **OPEN,
            "tail": [
                N("Concat", ["background", "tumour"], ["b"], axis=3),
                N("AveragePool", ["b"], ["p"], kernel_shape=[2, 1], strides=[2, 1]),
            ],
        },
        {"size": SIDE},
        r"one map of background and tumour",
    ),
    "names without channels": ({"names": ("a", "b"), "heat_channels": 3}, {}, r"does not take.*inputs: \[SLIDE"),
    "wrong names": ({}, {"inputs": ["input_image", "heatmap"]}, r"does not take what a refiner is given"),
    "one name": ({}, {"inputs": ["input_image"]}, r"does not take what a refiner is given"),
    "channels first": (FIRST, {}, r"does not take what a refiner is given.*channels_last"),
    "three classes": (
        {
            "tail": [
                N("Mul", ["background", "half"], ["rest"]),
                N("Concat", ["rest", "rest", "tumour"], ["p"], axis=3),
            ],
            "outputs": {"p": ["n", SIDE, SIDE, 3]},
        },
        {},
        r"more than two classes",
    ),
    "one map of logits": (
        {"tail": [N("Identity", ["tumour"], ["p"])], "outputs": {"p": ["n", SIDE, SIDE, 1]}},
        {},
        r"no probabilities",
    ),
    "a half map": (
        {
            "tail": [
                N("Concat", ["background", "tumour"], ["b"], axis=3),
                N("AveragePool", ["b"], ["p"], kernel_shape=[2, 1], strides=[2, 1]),
            ],
            "outputs": {"p": ["n", SIDE // 2, SIDE, 2]},
        },
        {},
        r"one map of background and tumour",
    ),
    "deaf": (
        {
            "tail": [
                N("Sub", ["heat", "heat"], ["nothing"]),
                N("Concat", ["nothing", "nothing"], ["z"], axis=3),
                N("Softmax", ["z"], ["p"], axis=3),
            ]
        },
        {},
        r"the same answer",
    ),
}


@pytest.mark.parametrize("name", TAKEN_REFINERS)
@pytest.mark.usefixtures("at_once")
def test_a_refiner_of_others_gives_its_map(tmp_path: Path, name: str) -> None:
    made, settings, changed = TAKEN_REFINERS[name]
    source = refiner(tmp_path / "net.onnx", **made)
    target, facts = take(source, role="refiner", **settings)
    session = open_session(target, EngineOptions(threads=1), where="guest")
    assert refiner_size(session, where="g") == SIDE
    found = refine(session, IMAGE, HEAT, where="g")
    np.testing.assert_allclose(found, REFINED, atol=2e-3 if "half" in name else 1e-5)
    assert bool(facts["decided"]["changed"]) == changed


@pytest.mark.parametrize("name", REFUSED_REFINERS)
@pytest.mark.usefixtures("at_once")
def test_a_refiner_that_cannot_be_trusted_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    made, settings, message = REFUSED_REFINERS[name]
    with pytest.raises(ModelError, match=message) as caught:
        take(refiner(tmp_path / "net.onnx", **made), role="refiner", **settings)
    assert "\n" not in str(caught.value)


# Files beside the model


@pytest.mark.parametrize("name", ["net.onnx.data", "weights.bin", "Gewichte Nr. 1"])
def test_weights_in_a_file_beside_the_model_are_taken_along(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    source = beside(classifier(folder / "net.onnx"), name)
    whole = source.read_bytes() + (folder / name).read_bytes()
    assert external_files(source) == [folder / name]
    target, facts = take(source, sha256=hashlib.sha256(whole).hexdigest())
    shutil.move(target, tmp_path / "alone.onnx")
    shutil.rmtree(folder)
    np.testing.assert_allclose(answer(tmp_path / "alone.onnx"), ODDS, atol=1e-5)
    assert facts["source_sha256"] == hashlib.sha256(whole).hexdigest() != facts["sha256"]


def test_other_weights_beside_a_model_are_another_model(tmp_path: Path) -> None:
    source = beside(classifier(tmp_path / "net.onnx"))
    before = model_digest(source)
    weights = source.with_name("net.onnx.data")
    held = bytearray(weights.read_bytes())
    held[-1] ^= 1
    weights.write_bytes(held)
    # Of an older date, as a copy that keeps its times.
    os.utime(weights, (1e9, 1e9))
    assert model_digest(source) != before
    with pytest.raises(ModelError, match="not the one"):
        take(source, sha256=before)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    source = beside(classifier(tmp_path / "net.onnx"))
    source.with_name("net.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"guest: .*not beside it \(found: 'net.onnx.data'\)"):
        take(source)


def test_a_card_shows_no_escapes_of_a_strangers_names(tmp_path: Path) -> None:
    model = onnx.load(classifier(tmp_path / "net.onnx"))
    model.graph.input[0].name = model.graph.node[0].input[0] = "\x1b[2Jtiles"
    onnx.save(model, tmp_path / "net.onnx")
    _, facts = take(tmp_path / "net.onnx")
    write_finished_card(tmp_path / "card.md", "classifier", facts, {})
    assert "\x1b" not in (tmp_path / "card.md").read_text() and r"\x1b[2Jtiles" in (tmp_path / "card.md").read_text()


def test_the_digest_of_a_file_that_stands_alone_is_its_own(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    assert model_digest(source) == content_digest(source) == hashlib.sha256(source.read_bytes()).hexdigest()
    assert external_files(source) == []
    (tmp_path / "empty").touch()
    assert model_digest(tmp_path / "empty") == hashlib.sha256(b"").hexdigest()


def test_a_place_of_the_same_name_in_the_metadata_is_no_file_of_weights(tmp_path: Path) -> None:
    model = onnx.load(classifier(tmp_path / "net.onnx"))
    onnx.helper.set_model_props(model, {"location": "Essen"})
    onnx.save(model, tmp_path / "net.onnx")
    target, _ = take(tmp_path / "net.onnx")
    np.testing.assert_allclose(answer(target), ODDS, atol=1e-5)


def test_the_ends_of_a_file_and_its_size_tell_slides_apart(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    seen = set()
    for first, size, last in ((0, 10, 0), (1, 10, 0), (0, 10, 1), (0, 300_000, 0), (0, 300_000, 1), (0, 300_001, 1)):
        path.write_bytes(bytes([first]) + bytes(size) + bytes([last]))
        seen.add(ends_digest(path))
    assert len(seen) == 6


def _retype(path: Path, kind: int) -> None:
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = kind
    onnx.save(model, path)


def _keep(path: Path, results: tuple[str, ...]) -> None:
    model = onnx.load(path)
    kept = [node for node in model.graph.node if node.output[0] in results]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, path)
