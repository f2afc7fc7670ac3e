"""The full-scale overlays resolve to the papers' numbers: a table of keys, values, and where each value is stated.

To add a row to full_scale_values.txt: `key | value as YAML | source`, below the `[prefix]` that its key begins with. A
source begins with one of `SOURCES`; `chosen` says that the papers and their code are silent, or why the overlay differs
from them.
"""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drunet.settings.merging import merged
from drunet_demo.slides import SLIDES
from studies.common.study_settings import load_studies

ROOT = Path(__file__).parents[3]
SOURCES = {
    "Oskouei": "S. Oskouei et al. 2025, Segmentation of Non-Small Cell Lung Carcinomas: DRU-Net; by its headings",
    "code": "the repository of Oskouei et al., AICAN-Research/DRU-Net; by its files",
    "H2G-Net": "A. Pedersen et al. 2022, H2G-Net, Frontiers in Medicine 9:971873",
    "Tian": "L. Tian et al. 2024, MFStudentLNet, Scientific Reports; by its headings",
    "ResNet-50": "Lung Cancer Classification from CT Images Using ResNet, arXiv 2510.16310; by its headings",
    "Chu": "P. T. M. Chu et al., The application of deep learning in lung cancerous lesion detection; by its headings",
    "Chu's code": "the repository of Chu et al., main.py and its networks",
    "Pravdyvets": "D. Pravdyvets 2023, master's thesis, Universitat Oberta de Catalunya; by its sections",
    "chosen": "stated nowhere, chosen here",
}
TABLE = Path(__file__).with_name("full_scale_values.txt").read_text(encoding="utf-8")


def rows(table: str) -> list[tuple[str, Any, str]]:
    """Key, value and source of each row."""
    found, prefix = [], ""
    for line in filter(None, table.splitlines()):
        if line.startswith("["):
            prefix = f"{line.strip('[]')}."
        else:
            key, value, source = line.split(" | ")
            found.append((f"{prefix}{key}", yaml.safe_load(value), source))
    return found


ROWS = rows(TABLE)


@pytest.fixture(scope="module")
def resolved() -> dict[str, Any]:
    """The configuration with both overlays, all models of the studies, and under `studies` their settings."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for overlay in ("full_scale", "full_scale_studies"):
        config = merged(config, yaml.safe_load((ROOT / f"resources/{overlay}.yaml").read_text(encoding="utf-8")))
    made = [f"results/demo/{slide}{end}" for slide in SLIDES for end in (".tif", ".geojson")]
    studies, everything = load_studies(config, ROOT / "workflow/studies", made)
    return {**everything, "studies": {name: study.settings for name, study in studies.items()}}


@pytest.mark.parametrize(("key", "value", "source"), ROWS, ids=[key for key, _, _ in ROWS])
def test_the_overlays_resolve_to_what_is_published(
    resolved: dict[str, Any], key: str, value: object, source: str
) -> None:
    found = functools.reduce(operator.getitem, key.split("."), resolved)
    assert found == value, source
    assert type(found) is type(value), source


def test_every_row_names_a_source_and_no_key_stands_twice() -> None:
    keys = [key for key, _, _ in ROWS]
    assert [key for key in keys if keys.count(key) > 1] == []
    assert [source for _, _, source in ROWS if not source.startswith(tuple(SOURCES))] == []


def test_every_study_and_model_of_the_overlays_has_a_row(resolved: dict[str, Any]) -> None:
    named = {tuple(key.split(".")[:2]) for key, _, _ in ROWS}
    main = yaml.safe_load((ROOT / "resources/full_scale.yaml").read_text(encoding="utf-8"))
    studies = yaml.safe_load((ROOT / "resources/full_scale_studies.yaml").read_text(encoding="utf-8"))["study_settings"]
    for name, settings in studies.items():
        models = {(kind, model) for kind in ("classifiers", "refiners") for model in settings.get(kind, {})}
        assert named & ({("studies", name)} | models), name
    assert {(kind, model) for kind in ("classifiers", "refiners") for model in main[kind]} & named
