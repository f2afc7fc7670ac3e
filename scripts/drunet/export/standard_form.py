"""The standard form of a finished ONNX model: what differs from it is done by layers that are added to the file."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drunet.errors import ModelError
from drunet.refine import HEATMAP, IMAGE
from drunet.settings.finished import FinishedModel

_NEW = "drunet_"
_ONE = np.ones(1, np.float32)


def place(source: str, target: str, where: str, *, whole: bool) -> list[str]:
    """Copy a model; if it is to be `whole`, with the weights that lie in files beside it. Returns what was changed.

    Raises ModelError if it cannot be read, or is too large for one file.
    """
    if not whole:
        shutil.copyfile(source, target)
        return []
    try:
        model = onnx.load(source)
    except Exception as error:  # protobuf's own, and whatever is wrong with the files beside it
        found = str(error).splitlines()[0].replace(str(Path(source).parent), "")[:160]
        mend = "Export it again, or correct its path in the configuration."
        raise ModelError("the file cannot be loaded as an ONNX model", where=where, found=found, mend=mend) from error
    save(model, target, where)
    return ["weights taken into the file"]


def divided_input(path: str, where: str, *, channels_last: bool) -> list[str]:
    """Give a refiner of one picture of four channels, as H2G-Net's, an input for the slide and one for the heatmap.

    The channels are taken for red, green, blue and heatmap. Returns what was changed; other files are left alone.
    """
    try:
        model = onnx.load(path)
    except Exception:  # protobuf's own, or none of its weights: the trial says what is wrong
        return []
    graph, axis = model.graph, 3 if channels_last else 1
    constants = {tensor.name for tensor in graph.initializer}
    taken = [i for i in graph.input if i.name not in constants]
    shape = [d.dim_value or d.dim_param or None for d in taken[0].type.tensor_type.shape.dim] if taken else []
    if len(taken) != 1 or len(shape) != 4 or shape[axis] != 4:
        return []
    kind = taken[0].type.tensor_type.elem_type
    for name, channels in ((IMAGE, 3), (HEATMAP, 1)):
        own = [channels if k == axis else side for k, side in enumerate(shape)]
        graph.input.append(helper.make_tensor_value_info(name, kind, own))
    graph.input.remove(taken[0])
    joined = helper.make_node("Concat", [IMAGE, HEATMAP], [taken[0].name], name=f"{_NEW}joined", axis=axis)
    graph.node.insert(0, joined)
    save(model, path, where)
    return [f"input {taken[0].name} of four channels divided into slide and heatmap"]


def standard_form(path: str, role: str, decided: dict[str, Any], settings: FinishedModel, where: str) -> list[str]:
    """Add to a model what it lacks: one output of probabilities that sum to 1, a refiner's inputs and layout.

    `decided` is from `drunet.export.trial`. Returns what was added; nothing is written where nothing is lacking.
    """
    model = onnx.load(path)
    done: list[str] = []
    rewriting = Rewriting(model.graph)
    classifier = role == "classifier"
    output, classes = decided["output"], decided["classes"]
    if len(model.graph.output) > 1:
        done.append(f"output {output} kept alone")
    if not classifier:
        if rewriting.fixed_sides(decided["side"], settings.channels_last):
            done.append(f"side of {decided['side']} px")
        done += rewriting.refiner_inputs(decided, settings)
    value = rewriting.as_float(output)
    if value != output:
        done.append("answer as float32")
    last = not classifier and not settings.channels_last
    if last:
        value = rewriting.node("Transpose", [value], perm=[0, 2, 3, 1])
        done.append("answer turned to [n, s, s, classes]")
    if not decided["flat"]:
        value = rewriting.node("Reshape", [value, rewriting.constant(np.array([-1, classes], np.int64))])
        done.append("answer turned to [n, classes]")
    axis = 1 if classifier else 3
    if settings.activation == "softmax" and classes > 1:
        value = rewriting.node("Softmax", [value], axis=axis)
        done.append("softmax")
    elif settings.activation in ("softmax", "sigmoid"):
        value = rewriting.node("Sigmoid", [value])
        done.append("sigmoid")
    told = "tumour_index" in settings.model_fields_set
    if classes == 1 and not (classifier and told):
        rest = rewriting.node("Sub", [rewriting.constant(_ONE), value])
        # A single column is the tumour's, unless a refiner's is said to be the background's.
        pair = [rest, value] if not (told and settings.tumour_index == 0) or classifier else [value, rest]
        value, classes = rewriting.node("Concat", pair, axis=axis), 2
        done.append("the other class added")
    elif classes > 1 and settings.activation in ("sigmoid", "none"):
        value = rewriting.only(value, settings.tumour_index, classes)
        done.append("the other classes share the rest to 1")
    if not classifier and decided["classes"] > 1 and (settings.tumour_index != 1 or classes != 2):
        tumour = rewriting.node("Gather", [value, rewriting.constant(np.array([settings.tumour_index]))], axis=3)
        rest = rewriting.node("Sub", [rewriting.constant(_ONE), tumour])
        value, classes = rewriting.node("Concat", [rest, tumour], axis=3), 2
        done.append(f"class {settings.tumour_index} as tumour")
    if not done:
        return []
    shape = [decided["batch"] or "n", *([] if classifier else [decided["side"]] * 2), classes]
    rewriting.finish(value, shape)
    save(model, path, where)
    return done


def save(model: Any, path: str, where: str) -> None:
    """Write a model; raises ModelError where one file cannot hold it."""
    try:
        onnx.save(model, path)
    except Exception as error:  # ValueError, or protobuf's own, beyond 2 GB
        what, mend = "the model is too large for one file", "Export it smaller, in half precision for instance."
        raise ModelError(what, where=where, found=type(error).__name__, mend=mend) from error


class Rewriting:
    """A graph to which layers are added at its ends: `front` ones between an input and what read it."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self._front: list[Any] = []
        self._count = 0

    def name(self) -> str:
        """A new name."""
        self._count += 1
        return f"{_NEW}{self._count}"

    def constant(self, value: np.ndarray) -> str:
        """Name of a new constant."""
        name = self.name()
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], *, front: bool = False, result: str = "", **attributes: Any) -> str:
        """Add a layer; the name of its answer."""
        result = result or self.name()
        node = helper.make_node(kind, inputs, [result], name=self.name(), **attributes)
        self._front.append(node) if front else self.graph.node.append(node)
        return result

    def as_float(self, output: str) -> str:
        """Name of an output as float32."""
        kind = next(o.type.tensor_type.elem_type for o in self.graph.output if o.name == output)
        return output if kind == TensorProto.FLOAT else self.node("Cast", [output], to=TensorProto.FLOAT)

    def only(self, value: str, index: int, classes: int) -> str:
        """Rows in which the class at `index` keeps its value, and the others share what is left to 1."""
        one = np.zeros((1, classes), np.float32)
        one[0, index] = 1
        tumour = self.node("Gather", [value, self.constant(np.array([index]))], axis=-1)
        rest = self.node("Sub", [self.constant(_ONE), tumour])
        kept = self.node("Mul", [tumour, self.constant(one)])
        return self.node(
            "Add", [kept, self.node("Mul", [rest, self.constant(((1 - one) / (classes - 1)).astype(np.float32))])]
        )

    def fixed_sides(self, side: int, channels_last: bool) -> bool:
        """Fix the sides that a refiner's inputs leave open; whether there were any."""
        axes = [
            i.type.tensor_type.shape.dim[k] for i in self.graph.input for k in ((1, 2) if channels_last else (2, 3))
        ]
        opened = [axis for axis in axes if axis.dim_value <= 0]
        for axis in opened:
            axis.dim_value = side
        return bool(opened)

    def refiner_inputs(self, decided: dict[str, Any], settings: FinishedModel) -> list[str]:
        """Give a refiner the inputs that it is fed by: names, channels last, 0..255, float32."""
        names = {role: name for name, role in decided["inputs"].items()}
        done = []
        for role, name, channels in (("slide", IMAGE, 3), ("heatmap", HEATMAP, 1)):
            old = next(i for i in self.graph.input if i.name == names[role])
            kind = old.type.tensor_type.elem_type
            scaled = role == "slide" and settings.scale != 1
            if names[role] == name and settings.channels_last and not scaled:
                continue
            inside = f"{_NEW}inside_{name}"
            for node in self.graph.node:
                rename(node, old.name, inside)
            value = name
            if scaled:
                factor = self.constant(np.array([settings.scale], np.float32))
                value = self.node("Mul", [value, factor], front=True)
                done.append(f"scale {settings.scale:g}")
            if not settings.channels_last:
                value = self.node("Transpose", [value], front=True, perm=[0, 3, 1, 2])
                done.append(f"{role} turned to [n, channels, s, s]")
            self.node("Cast", [value], front=True, result=inside, to=kind)
            side = decided["side"]
            shape = [decided["batch"] or "n", side, side, channels]
            old.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
            if names[role] != name:
                done.append(f"input {names[role]} as the {role}")
        return done

    def finish(self, value: str, shape: list[Any]) -> None:
        """Make `value` the only output."""
        nodes = [*self._front, *self.graph.node]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        del self.graph.output[:]
        self.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, shape))


def rename(node: Any, old: str, new: str) -> None:
    """Rename a value in a node and in the graphs inside it."""
    for k, name in enumerate(node.input):
        if name == old:
            node.input[k] = new
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                rename(inner, old, new)
