"""The fingerprint changes with the code that a script reaches, and with nothing else."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest

from drunet import fingerprint as fingerprints
from drunet.fingerprint import fingerprint, reached, remember_in
from drunet.models import registry

SCRIPTS = Path(__file__).parents[2] / "scripts"
ROOTS = [SCRIPTS, SCRIPTS.parent / "workflow"]

HOUSE = {
    "drunet/__init__.py": "",
    "drunet/slide.py": "import drunet.errors\n\n\ndef read():\n    return 1\n",
    "drunet/errors.py": "class E(Exception):\n    pass\n",
    "drunet/late.py": "VALUE = 3\n",
    "drunet/unreached.py": "VALUE = 4\n",
    "drunet/models/__init__.py": "",
    "drunet/models/registry.py": "def build(name):\n    return name\n",
    "drunet/models/big.py": "from drunet import errors\nLAYERS = 9\n",
    "drunet/report/__init__.py": "from drunet.report.page import render\n",
    "drunet/report/page.py": "def render():\n    return ''\n",
    "work.py": (
        "import numpy\nfrom drunet.models import registry\nfrom drunet.slide import read\n\n\n"
        "def run():\n    from drunet import late\n    return late.VALUE\n"
    ),
    "other.py": "import drunet.report\n",
}

_ticks = itertools.count(1)


class House:
    """A small package with scripts, whose files can be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in HOUSE.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        # Each change has its own time, however fast the test is.
        os.utime(path, ns=(next(_ticks) * 10**9,) * 2)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def digest(self, script: str = "work.py", *modules: str) -> str:
        return fingerprint(self.root / script, [self.root], modules)

    def reached(self, script: str = "work.py", *modules: str) -> set[str]:
        return reached(self.root / script, [self.root], modules)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_it_reaches_imports_of_modules_of_names_and_inside_functions(house: House) -> None:
    assert house.reached() == {
        "drunet",
        "drunet.slide",
        "drunet.errors",
        "drunet.late",
        "drunet.models",
        "drunet.models.registry",
    }
    assert house.reached("other.py") == {"drunet", "drunet.report", "drunet.report.page"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("work.py", "late.VALUE", "late.VALUE + 1"),
        ("drunet/slide.py", "return 1", "return 2"),
        ("drunet/errors.py", "Exception", "ValueError"),
        ("drunet/late.py", "3", "5"),
        ("drunet/models/registry.py", "return name", "return None"),
        ("drunet/__init__.py", "", "VERSION = 2\n"),
        ("drunet/models/__init__.py", "", "from drunet import unreached\n"),
    ],
)
def test_changed_code_of_what_is_reached_changes_it(house: House, file: str, old: str, new: str) -> None:
    before = house.digest()
    house.edit(file, old, new)
    assert house.digest() != before


@pytest.mark.parametrize(
    "text",
    [
        '"""What it is."""\nimport drunet.errors\n\n\ndef read():\n    return 1\n',
        "import drunet.errors  # for its errors\n\n# one\ndef read():\n    # two\n    return 1\n",
        'import drunet.errors\ndef read():\n    """Read."""\n\n\n    return (\n        1\n    )\n',
    ],
)
def test_comments_docstrings_and_layout_do_not_change_it(house: House, text: str) -> None:
    before = house.digest()
    house.write("drunet/slide.py", text)
    assert house.digest() == before


def test_a_text_that_is_no_docstring_does_change_it(house: House) -> None:
    house.write("drunet/late.py", "VALUE = 'one'\n")
    before = house.digest()
    house.write("drunet/late.py", "VALUE = 'two'\n")
    assert house.digest() != before


def test_a_docstring_alone_in_a_class_counts_as_pass(house: House) -> None:
    before = house.digest()
    house.write("drunet/errors.py", 'class E(Exception):\n    """What went wrong."""\n')
    assert house.digest() == before


def test_the_description_below_a_field_does_not_change_it(house: House) -> None:
    house.write("drunet/late.py", 'class Late:\n    size: int\n    """side, px"""\n    step: int\n')
    before = house.digest()
    house.edit("drunet/late.py", "side, px", "side of a tile, px")
    assert house.digest() == before
    house.edit("drunet/late.py", "step: int", "step: float")
    assert house.digest() != before


@pytest.mark.parametrize("file", ["drunet/unreached.py", "drunet/models/big.py", "drunet/report/page.py", "other.py"])
def test_what_is_not_reached_does_not_change_it(house: House, file: str) -> None:
    before = house.digest()
    house.write(file, "VALUE = 'something else'\n")
    assert house.digest() == before


def test_an_import_added_or_removed_on_the_way_counts(house: House) -> None:
    before = house.digest()
    house.edit("drunet/slide.py", "import drunet.errors", "import drunet.unreached")
    between = house.digest()
    assert between != before
    house.edit("drunet/unreached.py", "4", "5")
    assert house.digest() != between


def test_an_architecture_found_by_name_counts_once_it_is_named(house: House) -> None:
    before = house.digest("work.py", "drunet.models.big")
    assert before != house.digest("work.py")
    house.edit("drunet/models/big.py", "9", "10")
    assert house.digest("work.py", "drunet.models.big") != before


def test_a_relative_import_counts(house: House) -> None:
    house.write("drunet/models/registry.py", "from . import big\nfrom ..late import VALUE\n")
    assert {"drunet.models.big", "drunet.late"} <= house.reached()
    before = house.digest()
    house.edit("drunet/models/big.py", "9", "10")
    assert house.digest() != before


def test_packages_of_a_second_folder_count_and_scripts_of_the_first_are_no_modules(house: House) -> None:
    house.write("workflow/sky/__init__.py", "")
    house.write("workflow/sky/moon.py", "import drunet.unreached\nPHASES = 8\n")
    house.write("study.py", "from sky import moon\nimport work\n")
    roots = [house.root, house.root / "workflow"]
    assert reached(house.root / "study.py", roots) == {"sky", "sky.moon", "drunet", "drunet.unreached"}
    before = fingerprint(house.root / "study.py", roots)
    house.edit("workflow/sky/moon.py", "8", "9")
    assert fingerprint(house.root / "study.py", roots) != before


@pytest.mark.parametrize("named", ['TEMPLATE = "page.md.j2"', 'def page(load):\n    return load("page.md.j2")'])
def test_a_template_beside_a_module_counts_where_the_module_names_it(house: House, named: str) -> None:
    house.write("drunet/page.md.j2", "{% include 'notes.md.j2' %} One sentence.")
    house.write("drunet/notes.md.j2", "A note.")
    house.write("drunet/other.md.j2", "Another page.")
    house.write("drunet/late.py", f"VALUE = 3\n{named}\n")
    digests = [house.digest()]
    for file, counts in (("page", True), ("notes", True), ("other", False)):
        house.write(f"drunet/{file}.md.j2", "Other words. " + ("{% include 'notes.md.j2' %}" if file == "page" else ""))
        digests.append(house.digest())
        assert (digests[-1] != digests[-2]) is counts


def test_imports_in_a_circle_end(house: House) -> None:
    house.write("drunet/errors.py", "import drunet.slide\n")
    assert {"drunet.slide", "drunet.errors"} <= house.reached()


def test_it_is_sixteen_digits_and_independent_of_the_folder(house: House, tmp_path: Path) -> None:
    other = House(tmp_path / "elsewhere")
    assert house.digest() == other.digest()
    assert len(house.digest()) == 16
    assert int(house.digest(), 16) >= 0


# The real scripts


def test_postprocessing_reaches_no_training_and_training_reaches_its_architecture() -> None:
    post = reached(SCRIPTS / "postprocess.py", ROOTS)
    assert "drunet.postprocess" in post
    assert not [m for m in post if m.startswith(("drunet.training", "drunet.models", "drunet.augment"))]
    architecture = registry.module_of("dr_fused")
    training = reached(SCRIPTS / "train_classifier.py", ROOTS, [architecture])
    assert {"drunet.training.classifier", "drunet.sampling", "drunet.slide", architecture} <= training
    assert architecture not in reached(SCRIPTS / "train_classifier.py", ROOTS)


# What is kept between starts


def test_what_is_kept_of_modules_gives_the_same_digest_and_follows_every_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, kept = House(tmp_path / "house"), tmp_path / "kept.json"
    first = house.digest()

    def started_again() -> None:
        monkeypatch.setattr(fingerprints, "_remembered", {})
        monkeypatch.setattr(fingerprints, "_memory", [])
        fingerprints._parsed.cache_clear()
        remember_in(kept)

    started_again()
    assert house.digest() == first and kept.is_file()
    started_again()
    with monkeypatch.context() as without:
        without.setattr(fingerprints.ast, "parse", None)
        assert house.digest() == first
    house.edit("drunet/late.py", "3", "4")
    edited = house.digest()
    assert edited != first
    started_again()
    house.edit("drunet/late.py", "4", "3")
    assert house.digest() == first
    for damage in ("[]", "{", '{"a": 1}', json.dumps({key: {"code": 1} for key in json.loads(kept.read_text())})):
        kept.write_text(damage)
        started_again()
        assert house.digest() == first, damage
