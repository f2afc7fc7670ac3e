"""Grad-CAM of the CT networks: which images are explained, the maps of one network, and the boxes that they cover.

Every network is asked about the same images, which are chosen from the answers of all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.console import say
from drunet.training.trained import rebuild
from studies.common.class_metrics import trial_of, with_calls
from studies.common.images.folder import read_image
from studies.common.images.view import View
from studies.common.saliency.maps import (
    ScoreKind,
    default_layers,
    find_layer,
    grad_cam,
    scaled,
    unit_range,
    walk,
)
from studies.common.series import weights_file
from studies.ct_pneumonia.attention_maps import COVERAGE, ArmMaps, coverage, seen_box

BOX = ["xmin", "ymin", "xmax", "ymax"]
_Seen: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]
# Groups of convolutions, by whether they learn.
GROUPS = {"frozen": (False,), "trainable": (True,), "all": (False, True)}
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
# Layers that hold what another one gave, at other places.
_PLACES_ALONE = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D, keras.layers.UpSampling2D)


def choose_images(
    predictions: Sequence[pd.DataFrame],
    boxes: pd.DataFrame,
    *,
    trial: str,
    positive: str,
    images: int,
    coverage_images: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose the test images of a class that are shown, and those whose boxes are compared.

    Source: Chu et al., section 3.2: three patients on whose images all networks are correct. Where there are not so
    many, those on which most networks are correct follow. Images without a box are shown only where none has one.

    `predictions` are those of every network, `trial` the `protocol.fold` in which all were tested. At most `images` are
    shown, one per group (patient), the highest mean probability first: file, group, p (mean probability of the class
    over the networks), right (networks that are correct), networks. Of at most `coverage_images` (file, group), evenly
    spread over their names, boxes are compared.
    """
    answers = []
    for frame in predictions:
        known = with_calls(trial_of(frame, trial))
        known = known[known["label"] == positive]
        answers.append(known[["file", "group", f"p_{positive}"]].assign(right=known["called"] == positive))
    by_file = pd.concat(answers, ignore_index=True).groupby(["file", "group"], sort=True)
    table = by_file.agg(p=(f"p_{positive}", "mean"), right=("right", "sum"), networks=("right", "size")).reset_index()
    annotated = table["file"].isin(set(boxes["file"]))
    order = (table[annotated] if annotated.any() else table).sort_values(
        ["right", "p", "file"], ascending=[False, False, True], kind="stable"
    )
    shown = order.drop_duplicates("group").head(images).reset_index(drop=True)
    whole = table.loc[annotated, ["file", "group"]].reset_index(drop=True)
    places = np.unique(np.linspace(0, len(whole) - 1, min(coverage_images, len(whole))).round().astype(int))
    return shown, whole.iloc[places].reset_index(drop=True)


def map_arm(
    facts: Mapping[str, Any],
    weights: str | Path,
    root: str | Path,
    boxes: pd.DataFrame,
    shown: pd.DataFrame,
    covered: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    trial: str,
    positive: str,
    options: Mapping[str, Any],
    layer: str | None,
    layers: int | None,
) -> tuple[ArmMaps, pd.DataFrame]:
    """All maps of one network, and how they meet the boxes (file, xmin, ymin, xmax, ymax; px of the image).

    `facts`, `weights` and `predictions` are what its training left; `shown` and `covered` come from `choose_images`.
    The `positive` class is explained, whatever the network predicts, at the `layer` of that name (None: `last_layer`);
    so many `layers` are shown over the depth. The table has a row per box: file, group, box (its number), layer, right
    (whether the network is correct), and `coverage` by the map of the layer. Raises ModelError for an unknown layer.
    """
    model, view = rebuild(facts, weights_file(weights, trial)), View.of(facts["view"], "view")
    index, score = list(facts["classes"]).index(positive), options["score"]
    last = layer or last_layer(model)
    maps = _maps(model, _seen(shown["file"], root, view, boxes), index, score, last, layers)
    called = with_calls(trial_of(predictions, trial)).set_index("file")["called"]
    rows = []
    if len(covered):
        images, edges, owner = _seen(covered["file"], root, view, boxes)
        say(f"comparing the boxes of {len(covered)} images with the map of {_last_part(last)}")
        found = grad_cam(model, scaled(images), index, layers=[last], score=score, batch_size=8).branches[last]
        for k, (file, group) in enumerate(covered[["file", "group"]].to_numpy()):
            for number, box in enumerate(edges[owner == k]):
                met = coverage(found[k], box, threshold=options["threshold"], least=options["found"])
                told = {"layer": _last_part(last), "right": called[file] == positive}
                rows.append({"file": file, "group": group, "box": number, **told, **met})
    return maps, pd.DataFrame(rows, columns=list(COVERAGE))


def _maps(model: keras.Model, seen: _Seen, index: int, score: ScoreKind, last: str, layers: int | None) -> ArmMaps:
    """All maps of the images that are shown."""
    (images, boxes, owner), learning = seen, convolutions(model)
    pixels = scaled(images)
    asked = spread_convolutions(model, layers) if layers else []
    found = grad_cam(model, pixels, index, layers=[*dict.fromkeys([*asked, last])], score=score, batch_size=4)
    found_by = {name: unit_range(branch) for name, branch in found.branches.items()}
    groups = np.full((len(GROUPS), *images.shape[1:3]), np.nan, np.float32)
    for name, averages in group_maps(model, pixels[:1], index, score=score).items():
        groups[list(GROUPS).index(name)] = averages[0]
    return ArmMaps(
        images,
        boxes,
        owner,
        found_by[last],
        np.array(_last_part(last), dtype=np.str_),
        np.stack([found_by[name] for name in asked]) if asked else np.zeros((0, *images.shape[:3]), np.float32),
        np.array([_last_part(name) for name in asked], dtype=np.str_),
        groups,
        np.array(list(GROUPS)),
        np.array([sum(learns in kinds for learns in learning.values()) for kinds in GROUPS.values()], dtype=np.int64),
    )


def _seen(files: pd.Series, root: str | Path, view: View, boxes: pd.DataFrame) -> _Seen:
    """Images as a network was tested on them, their boxes there, and which image each box is of."""
    images, edges, owner = [], [], []
    for k, file in enumerate(files):
        whole = read_image(Path(root) / file)
        own = boxes.loc[boxes["file"] == file, BOX].astype(np.float64).to_numpy()
        images.append(view.test(whole))
        edges.append(seen_box(view, own, whole.shape[:2]))
        owner.append(np.full(len(own), k, np.int64))
    return np.stack(images), np.concatenate(edges), np.concatenate(owner)


def _last_part(path: str) -> str:
    return path.rpartition("/")[2]


def convolutions(model: keras.Model) -> dict[str, bool]:
    """Paths of all convolutions of a network, also of models that are its layers, and whether each learns.

    Plain, depthwise and separable ones, in the order of Keras' `layers`: by their distance from the input, and of
    equals as they were made. Upstream counts its frozen layers in that order too.
    """
    return {path: bool(layer.trainable) for path, layer in walk(model) if isinstance(layer, _CONVOLUTIONS)}


def last_layer(model: keras.Model) -> str:
    """Path of the last layer that holds all channels which are pooled: where Grad-CAM is taken if no layer is named.

    Found without a list of names. The last convolution need not be that: in InceptionV3 it is one of several branches
    (192 of 2,048 channels), in DenseNet121 what one layer adds (32 of 1,024), in ResNet50 a branch before its addition.
    Layers that pool or enlarge hold nothing new, and fewer or no more places.
    """
    pooled = default_layers(model)[-1]
    shape = find_layer(model, pooled).output.shape
    own = [(path, layer) for path, layer in walk(model) if not isinstance(layer, (keras.Model, *_PLACES_ALONE))]
    found = [path for path, layer in own if len(layer.output.shape) == 4 and layer.output.shape[-1] == shape[-1]]
    return found[-1] if found else pooled


def spread_convolutions(model: keras.Model, count: int) -> list[str]:
    """Paths of `count` convolutions (at least 1), evenly spaced over the depth; the last always, fewer if there are."""
    paths = list(convolutions(model))
    places = np.linspace(0, len(paths) - 1, min(count, len(paths))) if count > 1 else np.array([len(paths) - 1])
    return [paths[int(place)] for place in np.unique(np.round(places).astype(int))]


def averaged(maps: Mapping[str, NDArray[np.float32]], paths: Sequence[str]) -> NDArray[np.float32]:
    """Mean (n, h, w) of the maps of the layers `paths`, each scaled to [0, 1] first.

    The maps of layers differ in units, by orders of magnitude, since so do their channels: added up as they are, the
    mean would be the map of a layer or two. A layer without any evidence counts as 0 all over.
    """
    whole = np.zeros_like(maps[paths[0]], dtype=np.float64)
    for path in paths:
        whole += unit_range(maps[path])
    return (whole / len(paths)).astype(np.float32)


def group_maps(
    model: Any, images: NDArray[np.float32], index: int, *, score: ScoreKind = "log_odds"
) -> dict[str, NDArray[np.float32]]:
    """Grad-CAM averaged over the frozen, the trainable and all convolutions; float32 (n, h, w) in [0, 1] by group.

    Source: Chu et al., section 2.5 and figure S3, which speak of averaged gradients. Gradients of layers with other
    channels and places cannot be averaged; here it is their maps, see `averaged`. A group without a layer is left out.
    Every convolution's output is kept in memory.
    """
    learning = convolutions(model)
    maps = grad_cam(model, images, index, layers=list(learning), score=score, batch_size=1).branches
    paths = {name: [path for path, learns in learning.items() if learns in kinds] for name, kinds in GROUPS.items()}
    return {name: averaged(maps, own) for name, own in paths.items() if own}
