"""The multi-lens study: paired trainings, tests, tables, figures, page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import wilcoxon
from sklearn.metrics import f1_score

from drunet.augment.pipeline import Augmentation, MultiLens
from drunet.errors import ConfigError, TrainingDataError
from drunet.models import registry
from drunet.report.figures import save
from studies.common.page import render_section
from studies.multi_lens import settings as rules
from studies.multi_lens import tables as multi_lens
from studies.multi_lens import training as lens_training
from studies.multi_lens.arms import (
    arm_name,
    arms_of,
    folder_states,
    image_sets_of,
    lenses_of,
    strength_of,
    training_settings,
)
from studies.multi_lens.image_sets import ImageSet
from studies.multi_lens.tables import grid_picture, paired_dots, sample_tile, strength_sweep
from studies.multi_lens.training import (
    ImageBatches,
    at_side,
    distorting,
    identity,
    split_training,
    train_image_classifier,
)

ROOT = Path(__file__).resolve().parents[3]
WHOLE = yaml.safe_load((ROOT / "workflow/studies/multi_lens/settings.yaml").read_text(encoding="utf-8"))
# The part on images alone.
SETTINGS = {k: v for k, v in WHOLE.items() if k not in ("classifiers", "runs")} | {"slides": None}
PUBLISHED = pd.read_csv(ROOT / "resources/published/drunet_multi_lens.tsv", sep="\t", dtype=str, keep_default_na=False)
COLOURS = {"hue": 0.08, "contrast": [0.7, 1.3], "saturation": [0.7, 1.3], "brightness": 0.1}
LENSES = MultiLens(lenses=3, radius=(6, 12), strength=(-0.4, 0.4))


def tiny_network(
    size: int, classes: int, weights: str, freeze_fraction: float, batch_norm_momentum: float | None, seed: int
) -> keras.Model:
    """Stand in for DenseNet121, which takes a minute to compile."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(8, 5, strides=4, activation="relu")(image)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax", dtype="float32")(x), name="tiny")


def use_tiny(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(registry.ARCHITECTURES, "tiny", f"{__name__}:tiny_network")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny(monkeypatch)


def stripes(count: int, seed: int) -> ImageSet:
    """Upright and level stripes: two classes that one convolution tells apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    wave = (np.sin(np.arange(16) * 1.5)[None] * 90 + 128).repeat(16, axis=0)
    noise = rng.normal(0, 12, (count, 16, 16))
    images = np.stack([wave.T if label else wave for label in labels]) + noise
    return ImageSet(np.clip(images, 0, 255).astype(np.uint8)[..., None], labels, ("level", "upright"))


def tiny_settings(**changes: object) -> dict[str, object]:
    plan = {**SETTINGS["training"], "epochs": 3, "learning_rate": 0.01, "reestimate_batches": 0}
    return {
        **training_settings(SETTINGS, "digits"),
        "architecture": "tiny",
        "options": {},
        "share": 0.5,
        "training": plan,
        **changes,
    }


def train_tiny(folder: Path, lenses: MultiLens, seed: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    return train_image_classifier(
        "tiny",
        tiny_settings(),
        stripes(120, 0),
        stripes(40, 9),
        lenses=lenses,
        seed=seed,
        folder=folder,
        identity=f"{lenses}",
    )


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Histories and predictions of one seed: without lenses, with lenses that move nothing, and with lenses."""
    drawn = {"without": MultiLens(0, (6, 12), (0.0, 0.0)), "nothing": MultiLens(3, (6, 12), (0.0, 0.0)), "with": LENSES}
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch)
        return {name: train_tiny(tmp_path_factory.mktemp(name), lenses) for name, lenses in drawn.items()}


@pytest.mark.slow
def test_a_training_with_lenses_learns_and_counts_its_epochs(arms) -> None:
    history, predicted = arms["with"]
    assert history["epoch"].tolist() == [1, 2, 3]
    assert (predicted == stripes(40, 9).labels).mean() > 0.9


@pytest.mark.slow
def test_arms_of_a_seed_differ_by_lenses_alone(arms) -> None:
    # Lenses of strength 0 draw all that lenses draw and move nothing: such an arm is the arm without, to the last bit.
    without, nothing, lenses = (
        arms[name][0].drop(columns=["seconds", "waited"]) for name in ("without", "nothing", "with")
    )
    pd.testing.assert_frame_equal(without, nothing)
    assert (lenses["loss"] != without["loss"]).all()


def test_a_model_sees_lenses_in_training_alone() -> None:
    image = keras.Input((32, 32, 3))
    whole = distorting(keras.Model(image, keras.layers.Identity()(image)), LENSES, 3)
    images = np.random.default_rng(0).random((3, 32, 32, 3), dtype=np.float32)
    np.testing.assert_array_equal(whole(images), images)
    assert (np.asarray(whole(images, training=True)) != images).any(axis=(1, 2, 3)).all()


def test_batches_depend_on_seed_epoch_and_image_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(10)
    augmentation = Augmentation.from_config({**COLOURS, "flip": True})
    one, other = (
        ImageBatches(images, labels, size=32, batch_size=b, seed=4, augmentation=augmentation) for b in (10, 3)
    )
    whole, order = one[0]
    parts = [other[i] for i in range(len(other))]
    np.testing.assert_array_equal(whole, np.concatenate([p[0] for p in parts]))
    np.testing.assert_array_equal(order, np.concatenate([p[1] for p in parts]))
    assert (whole.dtype, whole.shape, order.dtype) == (np.float32, (10, 32, 32, 3), np.int32)
    assert sorted(order) == list(range(10))
    one.epoch = 1
    assert (one[0][1] != order).any()
    fixed = ImageBatches(images, labels, size=8, batch_size=10, seed=4, augmentation=augmentation, fixed=True)
    np.testing.assert_array_equal(fixed[0][0], images.astype(np.float32) / 255)


def test_images_come_to_their_side_in_three_channels() -> None:
    grey = np.full((28, 28, 1), 77, np.uint8)
    assert (at_side(grey, 32) == 77).all()
    assert at_side(grey, 32).shape == (32, 32, 3)
    colour = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    np.testing.assert_array_equal(at_side(colour, 3), colour)
    halves = np.zeros((4, 4, 3), np.uint8)
    halves[:2] = 200
    assert at_side(halves, 2)[:, 0, 0].tolist() == [200, 0]


def test_a_share_is_drawn_anew_for_every_seed_and_part_of_it_set_aside() -> None:
    learnt, aside = split_training(1000, share=0.2, validation_share=0.1, seed=5)
    assert (len(learnt), len(aside)) == (180, 20)
    assert not set(learnt) & set(aside)
    again, _ = split_training(1000, share=0.2, validation_share=0.1, seed=5)
    np.testing.assert_array_equal(learnt, again)
    assert set(split_training(1000, share=0.2, validation_share=0.1, seed=6)[0]) != set(learnt)
    assert len(split_training(50, share=1.0, validation_share=0.0, seed=1)[1]) == 0


def test_a_draw_of_one_class_ends_in_one_message(tiny: None, tmp_path: Path) -> None:
    one = ImageSet(np.zeros((20, 8, 8, 1), np.uint8), np.zeros(20, np.int64), ("a", "b"))
    with pytest.raises(TrainingDataError, match="one class only"):
        train_image_classifier("x", tiny_settings(), one, one, lenses=LENSES, seed=1, folder=tmp_path, identity="")


def test_an_identity_changes_with_all_that_decides(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(b"1")
    files = [str(tmp_path / "images")]
    first = identity({"a": 1}, 0.4, 1, files)
    others = {identity({"a": 2}, 0.4, 1, files), identity({"a": 1}, 0.2, 1, files), identity({"a": 1}, 0.4, 2, files)}
    (tmp_path / "images").write_bytes(b"2")
    others.add(identity({"a": 1}, 0.4, 1, files, "edited"))
    assert len(others | {first, identity({"a": 1}, 0.4, 1, files)}) == 6


def test_the_settings_that_ship_obey_their_schema_and_fit() -> None:
    rules.Settings.of(SETTINGS, "multi_lens")
    rules.check(SETTINGS, {})
    assert arms_of(SETTINGS, "digits") == ["without", "strength_0.4", "strength_0.8"]
    Augmentation.from_config(SETTINGS["augment"])


UNSWEPT: dict[str, object] = {"strengths": [], "datasets": []}


def checked(settings: dict[str, Any]) -> None:
    rules.Settings.of(settings, "multi_lens")
    rules.check(settings, {})


@pytest.mark.parametrize("dataset", [{}, {"training": ["a"]}, {"embedded": "digits", "test": ["a"]}, {"embedded": "x"}])
def test_a_set_without_files_is_refused(dataset: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        rules.Settings.of({**SETTINGS, "datasets": {"own": dataset}, "sweep": UNSWEPT}, "multi_lens")


def test_what_leads_nowhere_is_said_in_one_sentence(tmp_path: Path) -> None:
    def own(path: Path) -> dict[str, object]:
        return {"datasets": {"own": {"training": [str(path)], "test": [str(path)]}, "digits": None}, "sweep": UNSWEPT}

    for message, change in {
        "no set of images is left": {"datasets": {"digits": None}},
        "Did you mean digits": {"sweep": {"strengths": [0.2], "datasets": ["digit"]}},
        "the file is not there": own(tmp_path / "none"),
        "the range is empty": {"multi_lens": {**SETTINGS["multi_lens"], "radius": [9, 9]}},
    }.items():
        with pytest.raises(ConfigError, match=message):
            checked({**SETTINGS, **change})
    checked({**SETTINGS, **own(tmp_path)})


def test_a_folder_of_images_has_a_digest_that_changes_with_them(tmp_path: Path) -> None:
    (tmp_path / "set/train/a").mkdir(parents=True)
    files = {"training": [str(tmp_path / "set"), "x.npz"], "test": []}
    (before,) = folder_states(files)
    (tmp_path / "set/train/a/1.png").write_bytes(b"1")
    assert folder_states(files) != [before] and folder_states({"embedded": "digits"}) == []


def test_arms_are_named_by_strength_and_sets_may_differ_in_share_and_augmentation() -> None:
    assert [strength_of(arm_name(s)) for s in (0.0, 0.2, 1.0)] == [0.0, 0.2, 1.0]
    settings = {**SETTINGS, "datasets": {"own": {"training": ["a"], "test": ["b"], "augment": None}, "digits": None}}
    assert arms_of(settings, "own") == ["without", "strength_0.4"]
    assert list(image_sets_of(settings)) == ["own"]
    assert training_settings(settings, "own")["augment"] is None
    assert training_settings(settings, "own")["share"] == 0.1
    # What an arm does not depend on does not train it anew.
    assert not {"strength", "sweep", "repeats", "cost", "datasets"} & set(training_settings(settings, "own"))


def test_radii_scale_with_the_image() -> None:
    assert lenses_of(SETTINGS["multi_lens"], 0.4, 224).radius == (80, 110)
    assert lenses_of(SETTINGS["multi_lens"], 0.4, 32).radius == (11, 16)
    assert lenses_of({**SETTINGS["multi_lens"], "radius": [1, 2]}, 0.4, 32).radius == (1, 2)
    assert lenses_of(SETTINGS["multi_lens"], 0.0, 32).lenses == 0
    assert lenses_of(SETTINGS["multi_lens"], 0.3, 32).strength == (-0.3, 0.3)


def fake_study(folder: Path, datasets: tuple[str, ...] = ("fashion_mnist", "own"), seeds: int = 3) -> list[str]:
    """Write what trainings write: lenses mend a share of the mistakes that grows to ±0.4 and falls again."""
    paths = []
    for d, dataset in enumerate(datasets):
        (folder / dataset).mkdir()
        for strength in (0.0, 0.2, 0.4, 0.8):
            for seed in range(seeds):
                rng = np.random.default_rng([d, seed])
                labels = np.arange(400) % 10
                wrong = rng.random(400) < 0.3
                better = 0.9 - abs(strength - 0.4)
                mended = np.random.default_rng([d, seed, 1]).random(400) < (better if strength else 0)
                predicted = np.where(wrong & ~mended, (labels + 1 + rng.integers(0, 8, 400)) % 10, labels)
                path = folder / dataset / f"{arm_name(strength)}.{seed}"
                facts = {"dataset": dataset, "arm": arm_name(strength), "strength": strength, "seed": seed}
                history = pd.DataFrame({"epoch": [1, 2], "loss": [1.0, 0.5], "seconds": [2.0, 1.0]})
                multi_lens.write_outcome(
                    f"{path}.json",
                    f"{path}.tsv",
                    facts={**facts, "training_images": 100, "test_images": 400},
                    history=history,
                    labels=labels,
                    predicted=predicted,
                )
                paths.append(str(path))
    return paths


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> tuple[pd.DataFrame, multi_lens.Predictions, Any]:
    paths = fake_study(tmp_path_factory.mktemp("study"))
    outcomes = multi_lens.read_outcomes(f"{p}.json" for p in paths)
    predictions = multi_lens.read_predictions(f"{p}.tsv" for p in paths)
    return outcomes, predictions, multi_lens.compare(outcomes, predictions, PUBLISHED, 0.4)


def test_outcomes_hold_the_scores_of_their_predictions(compared, tmp_path: Path) -> None:
    outcomes, predictions, _ = compared
    assert len(outcomes) == 24
    row = outcomes.iloc[-1]
    frame = predictions[row["dataset"], row["arm"], row["seed"]]
    assert row["f1_macro"] == pytest.approx(f1_score(frame["label"], frame["predicted"], average="macro"))
    assert row["accuracy"] == (frame["label"] == frame["predicted"]).mean()
    assert row["seconds_per_epoch"] == 1.5
    long = multi_lens.long_metrics(outcomes)
    assert list(long.columns) == ["arm", "protocol", "repeat", "metric", "value"]
    assert len(long) == 24 * 4


def test_seeds_are_tested_in_pairs_and_three_of_them_cannot_decide(compared) -> None:
    outcomes, predictions, (comparison, _) = compared
    tests = multi_lens.seed_tests(outcomes, 0.4)
    for _, row in tests.iterrows():
        wide = outcomes[outcomes["dataset"] == row["dataset"]].pivot_table(
            index="seed", columns="arm", values="f1_macro"
        )
        assert row["mean_a"] == pytest.approx(wide["strength_0.4"].mean())
        assert row["p"] == pytest.approx(wilcoxon(wide["strength_0.4"], wide["without"]).pvalue)
        assert row["p"] == 0.25
    assert tests["p_holm"].tolist() == [0.5, 0.5]
    pooled = multi_lens.pooled_image_test(predictions, 0.4)
    assert (pooled["p"] < 1e-6).all()
    for _, row in pooled.iterrows():
        right = [
            sum(
                (f["label"] == f["predicted"]).to_numpy(int)
                for (name, other, _), f in predictions.items()
                if (name, other) == (row["dataset"], arm)
            )
            for arm in ("strength_0.4", "without")
        ]
        # Steps of one height tie exactly, which shares of three seeds would not.
        assert row["p"] == pytest.approx(wilcoxon(*right, correction=True, method="asymptotic").pvalue, rel=1e-9)
    assert (comparison["change"] > 0).all()


def test_published_figures_stand_beside_the_sets_that_have_them(compared) -> None:
    table = compared[2][0].set_index("dataset")
    assert table.loc["fashion_mnist", "published_with"] == "0.9208"
    assert table.loc["fashion_mnist", "published_p"] == "<0.001"
    assert table.loc["own", "published_with"] == ""
    assert compared[2][1] == {"fashion_mnist": (0.9043, 0.9208)}


def test_the_page_tells_the_change_beside_what_limits_it(compared, tmp_path: Path) -> None:
    outcomes, _, (comparison, published) = compared
    unswept = outcomes[outcomes["strength"].isin((0.0, 0.4))]
    for name, figure in {
        "pairs": paired_dots(outcomes, published, 0.4),
        "sweep": strength_sweep(outcomes),
        "grid": grid_picture(np.full((64, 64, 3), 200, np.uint8), LENSES, LENSES, seed=1),
    }.items():
        save(figure, tmp_path / f"figures/{name}.png", dpi=60)
    times = pd.DataFrame({"round": [1, 1], "form": ["without", "layer"], "seconds": [2.0, 2.1]})
    template = ROOT / "workflow/studies/multi_lens/page.md.j2"
    view = multi_lens.page_view(comparison, outcomes, SETTINGS)
    costs = multi_lens.relative_cost(times)
    whole = {"settings": SETTINGS, "slides": None, "images": view, "costs": costs, "timed": SETTINGS}
    section = render_section(tmp_path, template, whole)
    said = section.text
    assert "densenet121 was trained on 20 % of the training images of each set at 32 px" in said
    assert "with 4 lenses of strength ±0.4, for 3 seeds per set" in said
    first, second = comparison["change"]
    assert f"higher on 2 of 2 sets. Change: fashion_mnist +{first:.3f}, own +{second:.3f}." in said
    assert "cannot give a p value below 0.25" in said and "radii are 11–15 px: [80, 110) px" in said
    assert "random weights" in said and "other seeds may give the opposite" in said
    assert section.html.count("<img") == 3 and "hollow diamonds" in said
    assert "Training time per step of densenet121" in said and "lenses in the model" in said
    assert costs.set_index("variant").loc["lenses in the model", "overhead (%)"] == pytest.approx(5)
    many = pd.concat([unswept.assign(seed=unswept["seed"] + 3 * k) for k in range(2)])
    whole |= {"settings": {**SETTINGS, "weights": "imagenet"}}
    whole["images"] = multi_lens.page_view(comparison, many, whole["settings"])
    section = render_section(tmp_path, template, whole)
    assert section.html.count("<img") == 2 and not strength_sweep(unswept).axes[0].lines
    assert "cannot give" not in section.text and "random weights" not in section.text
    assert "published without" in section.html
    own = comparison[comparison["dataset"] == "own"]
    whole["images"] = multi_lens.page_view(own, many, whole["settings"])
    html = render_section(tmp_path, template, whole).html
    assert "published" not in html.split("Macro F1 on test images")[1].split("</table>")[0] and "p images" in html


def test_the_overhead_is_the_median_of_ratios_within_a_round() -> None:
    times = pd.DataFrame(
        {
            "round": [1, 1, 2, 2, 3, 3],
            "form": ["without", "layer"] * 3,
            # The second round ran on a busy machine: its ratio is that of the others.
            "seconds": [1.0, 1.02, 9.0, 9.27, 1.0, 1.5],
        }
    )
    cost = multi_lens.relative_cost(times).set_index("variant")
    assert cost.loc["no lenses", "overhead (%)"] == 0
    assert cost.loc["lenses in the model", "overhead (%)"] == pytest.approx(3)
    assert cost.loc["lenses in the model", "ms_per_step"] == 1500


@pytest.mark.slow
def test_forms_are_timed_in_turn(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    build = registry.build
    rest = {"weights": "random", "freeze_fraction": 0.0, "batch_norm_momentum": None}
    monkeypatch.setattr(lens_training.registry, "build", lambda name, **options: build(name, **options, **rest))
    cost = {"size": 32, "batch_size": 2, "steps": 2, "rounds": 3}
    settings = {"architecture": "tiny", "options": {}, "augment": None, "cost": cost}
    times = lens_training.measure_step_times(settings, LENSES, 1)
    assert times.groupby("form").size().to_dict() == {"without": 3, "layer": 3, "pipeline": 3}
    firsts = times.groupby("round")["form"].first().tolist()
    assert len(set(firsts)) == 3
    assert (times["seconds"] > 0).all()


@pytest.mark.slow
def test_given_tiles_are_timed_without_and_with_lenses_in_the_pipeline_alone(
    tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, rest = registry.build, {"weights": "random", "freeze_fraction": 0.0, "batch_norm_momentum": None}
    monkeypatch.setattr(lens_training.registry, "build", lambda name, **options: build(name, **options, **rest))
    seen: list[tuple[np.ndarray, Augmentation]] = []

    class Seen(ImageBatches):
        def __init__(self, images: np.ndarray, labels: np.ndarray, **options: Any) -> None:
            seen.append((images, options["augmentation"]))
            super().__init__(images, labels, **options)

    monkeypatch.setattr(lens_training, "ImageBatches", Seen)
    tiles = np.full((4, 32, 32, 3), 7, np.uint8)
    augment = {"flip": True, "multi_lens": {"lenses": 9, "radius": [2, 4], "strength": [-0.1, 0.1]}}
    cost = {"size": 32, "batch_size": 2, "steps": 2, "rounds": 2}
    settings = {"architecture": "tiny", "options": {}, "augment": augment, "cost": cost}
    times = lens_training.measure_step_times(settings, LENSES, 1, tiles, ("without", "pipeline"))
    assert times.groupby("form").size().to_dict() == {"without": 2, "pipeline": 2}
    assert all(images is tiles for images, _ in seen)
    assert [augmentation.multi_lens for _, augmentation in seen] == [None, LENSES]
    assert all(augmentation.flip for _, augmentation in seen)


def test_a_patch_shows_most_tumour_or_else_most_tissue() -> None:
    tiles = pd.DataFrame(
        {"x": [1, 2, 3], "y": [4, 5, 6], "tissue_fraction": [0.9, 1.0, 0.8], "tumour_fraction": [0.1, 0, 0.7]}
    )
    assert sample_tile(tiles) == (3, 6)
    assert sample_tile(tiles.assign(tumour_fraction=np.nan)) == (2, 5)


def test_the_picture_shows_the_same_lenses_stronger_and_weaker() -> None:
    patch = np.full((56, 56, 3), 220, np.uint8)
    medium = lenses_of(SETTINGS["multi_lens"], 0.3, 56)
    figure = grid_picture(patch, lenses_of(SETTINGS["multi_lens"], 0.9, 56), medium, seed=2)
    plain, strong, mild = (np.asarray(axes.images[0].get_array()).astype(int) for axes in figure.axes)
    assert (strong != plain).mean() > (mild != plain).mean() > 0
