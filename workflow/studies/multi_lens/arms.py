"""Runs on slides and sets of images of the study, their arms by lens strength, and the settings of each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from studies.common.images.content import content_state
from studies.common.user_paths import is_folder

if TYPE_CHECKING:
    from drunet.augment.pipeline import MultiLens

WITHOUT = "without"
# A set may have its own of these.
_OWN = ("share", "augment")
_TRAINING = (
    *("architecture", "options", "weights", "freeze_fraction", "batch_norm_momentum", "size"),
    *("share", "validation_share", "multi_lens", "augment", "training"),
)
# Results of either part, in the study's folder, by the name that the page's rule gives them.
_ON_SLIDES = {"slides": "slides.tsv", "slide_tests": "slide_tests.tsv"}
_ON_SLIDES |= {"slide_pairs": "figures/slide_pairs.png", "slide_sweep": "figures/slide_sweep.png"}
_ON_IMAGES = {"comparison": "comparison.tsv", "pairs": "figures/pairs.png", "sweep": "figures/sweep.png"}


def results_of(*, slides: object, images: object) -> dict[str, str]:
    """Files of the parts that are made, beside those of every page, by name."""
    return (_ON_SLIDES if slides else {}) | (_ON_IMAGES if images else {})


def networks_of(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Runs on slides by network: the one without lenses, the one with, and those of further strengths."""
    networks = (settings["slides"] or {"networks": {}})["networks"]
    return {name: list(runs) for name, runs in networks.items() if runs}


def largest_strength(classifier: Mapping[str, Any]) -> float:
    """Largest strength of a lens, either way, that a classifier of the configuration is trained with; 0: no lenses."""
    drawn = (classifier["augment"] or {}).get("multi_lens")
    return max(map(abs, drawn["strength"])) if drawn and drawn["lenses"] else 0.0


def image_sets_of(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sets of images that take part, by name."""
    return {name: dict(files) for name, files in settings["datasets"].items() if files is not None}


def folder_states(files: Mapping[str, Any]) -> list[str]:
    """Digests of the folders of a set, which change when an image in them does."""
    paths = [*files.get("training", []), *files.get("test", [])]
    return [content_state(path, None) for path in paths if is_folder(path)]


def arm_name(strength: float) -> str:
    """Name of the arm with lenses of ±`strength`; files are named so."""
    return f"strength_{strength:g}" if strength else WITHOUT


def strength_of(arm: str) -> float:
    """Strength of an arm by its name."""
    return 0.0 if arm == WITHOUT else float(arm.removeprefix("strength_"))


def arms_of(settings: Mapping[str, Any], dataset: str) -> list[str]:
    """Arms of a set: without, with, and those of the strength sweep if it is swept; weakest first, none twice."""
    swept = settings["sweep"]["strengths"] if dataset in settings["sweep"]["datasets"] else []
    return [arm_name(s) for s in sorted({0.0, float(settings["strength"]), *map(float, swept)})]


def training_settings(settings: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """The settings that decide the trainings of a set, of either arm."""
    files = settings["datasets"][dataset]
    return {**{key: settings[key] for key in _TRAINING}, **{key: files[key] for key in _OWN if key in files}}


def lenses_of(settings: Mapping[str, Any], strength: float, size: int) -> "MultiLens":
    """Lenses of an arm, by the block `multi_lens` of the settings: radii scaled to images of `size` px, strengths of
    ±`strength`, of which 0 means no lenses.
    """
    # Here, for the rules are read with this module.
    from drunet.augment.pipeline import MultiLens

    low, high = (max(1, round(radius * (size / settings["radius_at"]))) for radius in settings["radius"])
    # The upper end is never drawn.
    lenses, radius = settings["lenses"] if strength else 0, (low, max(high, low + 1))
    return MultiLens(lenses, radius, (-strength, strength), settings["probability"], settings["centres"])
