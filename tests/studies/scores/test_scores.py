"""Scoring sheets: blinded when they go out, checked when they come back, and summed up as by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from drunet.errors import ConfigError, SheetError
from drunet.files import read_published
from drunet.report.figures import save
from drunet.slide import Slide
from studies.common.page import render_section
from studies.scores import settings as rules
from studies.scores import tables
from studies.scores.figures import OUTLINE, dice_figure, distribution_figure, draw_outline, write_case
from studies.scores.sheets import SCALE, deal_cases, read_filled, with_pictures, write_reader
from studies.scores.tables import agreement, correlation, long_metrics, summarise_scores, weighted_kappa

ROOT = Path(__file__).parents[3]
INSTRUCTIONS = ROOT / "workflow/studies/scores/instructions.html.j2"
FACTS = ROOT / "resources/published/drunet_facts.tsv"
CASES = [(run, f"lung_{n:03d}") for run in ("drunet", "other") for n in range(1, 11)]
READERS = ("reader_1", "reader_2")
DIGESTS = {case: f"{number:064x}" for number, case in enumerate(CASES)}


def dealt(repeats: float = 0.2, seed: int = 3) -> pd.DataFrame:
    return with_pictures(deal_cases(CASES, READERS, repeats, seed), DIGESTS)


def one_reader() -> pd.DataFrame:
    key = dealt()
    return key[key["reader"] == "reader_1"]


def filled(path: Path, key: pd.DataFrame, change: Callable[[pd.DataFrame], Any] = lambda t: None) -> Path:
    table = key[["case", "picture"]].assign(score=[str(n % 6) for n in range(len(key))], comment="")
    table = table[["case", "score", "comment", "picture"]].reset_index(drop=True)
    changed = change(table)
    (table if changed is None else changed).to_csv(path, sep="\t", index=False)
    return path


# Sheets that go out ---------------------------------------------------------------------------------------------------


def test_every_reader_sees_every_case_in_an_order_of_their_own() -> None:
    key = dealt()
    orders = []
    for reader in READERS:
        mine = key[key["reader"] == reader]
        assert mine["case"].tolist() == [f"case_{n:02d}" for n in range(1, 25)]
        seen = list(zip(mine["run"], mine["slide"], strict=True))
        assert set(seen) == set(CASES)
        assert mine.loc[mine["presentation"] == 2].shape[0] == 4
        orders.append(seen)
    assert orders[0] != orders[1] != CASES
    pd.testing.assert_frame_equal(key, dealt())
    assert dealt(seed=4)["slide"].tolist() != key["slide"].tolist()


def test_another_reader_changes_nothing_for_those_who_are_there() -> None:
    more = deal_cases(CASES, ("reader_0", *READERS), 0.2, 3)
    pd.testing.assert_frame_equal(
        more[more["reader"] != "reader_0"].reset_index(drop=True), deal_cases(CASES, READERS, 0.2, 3)
    )


def test_pictures_of_one_slide_are_kept_apart() -> None:
    slides = one_reader()["slide"].tolist()
    places = {slide: [i for i, s in enumerate(slides) if s == slide] for slide in slides}
    assert min(b - a for p in places.values() for a, b in pairwise(p)) >= 4


def test_a_reader_gets_nothing_that_tells_slide_run_or_repetition(tmp_path: Path) -> None:
    key = one_reader()
    pictures = {}
    for number, case in enumerate(CASES):
        pictures[case] = str(tmp_path / f"{number}.jpg")
        Image.new("RGB", (8, 8), (number, 0, 0)).save(pictures[case])
    folder = tmp_path / "reader_1"
    write_reader(folder / "sheet.tsv", folder / "cases", folder / "instructions.html", key, pictures, INSTRUCTIONS)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names == {"sheet.tsv", "instructions.html", *(f"cases/{case}.jpg" for case in key["case"])}
    words = (folder / "sheet.tsv").read_text(encoding="utf-8-sig") + (folder / "instructions.html").read_text()
    assert not re.search("lung|drunet\\b(?!_)|other", words)
    for row in key.itertuples():
        assert (folder / f"cases/{row.case}.jpg").read_bytes() == Path(pictures[row.run, row.slide]).read_bytes()
    assert key["picture"].is_unique
    sheet = pd.read_csv(folder / "sheet.tsv", sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    assert sheet.columns.tolist() == ["case", "score", "comment", "picture"]
    assert (sheet["score"] == "").all()
    page = (folder / "instructions.html").read_text(encoding="utf-8")
    assert all(meaning in page for meaning in SCALE.values()) and "24 pictures" in page


def test_a_sheet_that_was_filled_in_where_it_was_made_is_never_replaced(tmp_path: Path) -> None:
    key = one_reader()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    pictures = dict.fromkeys(CASES, str(tmp_path / "a.jpg"))
    sheet = tmp_path / "sheet.tsv"
    for _ in range(2):  # an empty one is
        write_reader(sheet, tmp_path / "cases", tmp_path / "i.html", key, pictures, INSTRUCTIONS)
    before = filled(sheet, key).read_bytes()
    with pytest.raises(SheetError, match=r"has been filled in where it was made.*24 scores.*scores\.filled"):
        write_reader(sheet, tmp_path / "cases", tmp_path / "i.html", key, pictures, INSTRUCTIONS)
    assert sheet.read_bytes() == before


def test_without_cases_there_is_one_clear_message() -> None:
    with pytest.raises(SheetError, match="no outline to score"):
        deal_cases([], READERS, 0, 1)


def test_the_picture_shows_the_outline_and_leaves_the_tissue_and_names_out(
    tmp_path: Path, jpeg_slide: Callable[..., Path]
) -> None:
    image = np.full((300, 400, 3), (220, 160, 190), np.uint8)
    mask = np.zeros((150, 200), bool)
    mask[50:100, 50:150] = True
    drawn = draw_outline(image, mask)
    touched = (drawn != image).any(axis=2)
    # Smoothed edges mix a line of one pixel with its rim.
    assert np.abs(drawn[[100, 150], [200, 100]].astype(int) - OUTLINE).max() <= 50
    rows, columns = np.nonzero(touched)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((100, 199, 100, 299), abs=4)
    assert not touched[106:194, 106:294].any()
    path = tmp_path / "case.jpg"
    with Slide(str(jpeg_slide(image, 1.0)), "lung_001", None) as slide:
        write_case(path, slide, mask, 200)
        with Image.open(path) as picture:
            assert picture.width == 200 and not picture.getexif()
        assert b"lung_001" not in path.read_bytes()
        write_case(tmp_path / "large.jpg", slide, mask, 9000)
        with Image.open(tmp_path / "large.jpg") as picture:
            assert picture.width == 400


# Sheets that come back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "separator"), [("utf-8", "\t"), ("utf-8-sig", ";"), ("utf-16", "\t"), ("cp1252", ",")]
)
def test_a_sheet_is_read_however_a_spreadsheet_saved_it(tmp_path: Path, encoding: str, separator: str) -> None:
    key = one_reader()
    table = key[["case", "picture"]].assign(score=4, comment="größer;\n„als“, vorher")
    table.loc[table.index[0], "score"] = 0
    shuffled = table[["comment", "score", "picture", "case"]].iloc[::-1]
    content = shuffled.to_csv(sep=separator, index=False, lineterminator="\r\n") + separator * 3 + "\r\n"
    (tmp_path / "s.csv").write_bytes(content.encode(encoding))
    scores = read_filled(tmp_path / "s.csv", key)
    assert scores["case"].tolist() == key["case"].tolist()
    assert scores["score"].tolist() == [0, *[4] * 23]


def set_score(value: str) -> Callable[[pd.DataFrame], None]:
    def change(table: pd.DataFrame) -> None:
        table.loc[2, "score"] = value

    return change


def rename(case: str) -> Callable[[pd.DataFrame], None]:
    def change(table: pd.DataFrame) -> None:
        table.loc[2, "case"] = case

    return change


def other_picture(table: pd.DataFrame) -> None:
    table.loc[2, "picture"] = "p0000000"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_score(""), ("1 of 24 cases have no score", "case_03")),
        (set_score("6"), ("line 4", "no whole number from 0 to 5", "case_03: '6'")),
        (set_score("-1"), ("line 4", "no whole number from 0 to 5", "case_03: '-1'")),
        (set_score("3.5"), ("line 4", "no whole number from 0 to 5", "case_03: '3.5'")),
        (set_score("good"), ("line 4", "no whole number from 0 to 5", "case_03: 'good'")),
        (set_score("nan"), ("line 4", "no whole number from 0 to 5", "case_03: 'nan'")),
        (set_score("1e999"), ("line 4", "no whole number from 0 to 5", "case_03: '1e999'")),
        (rename("case_02"), ("line 4", "given twice", "case_02")),
        (rename("case_77"), ("line 4", "no such case", "case_77")),
        (rename(""), ("line 4", "no such case", "an empty cell")),
        (other_picture, ("line 4", "another picture", "case_03", "p0000000")),
        (lambda t: t.drop(index=[0, 5]), ("2 of 24 cases have no score", "case_01, case_06")),
        (lambda t: t.drop(columns="score"), ("needs the column score", "case, comment, picture")),
        (lambda t: t.head(0)[[]], ("needs the columns case, score, picture", "nothing")),
    ],
)
def test_a_sheet_with_a_mistake_ends_in_one_message_with_file_line_case_and_value(
    tmp_path: Path, change: Callable[[pd.DataFrame], Any], words: tuple[str, ...]
) -> None:
    path = filled(tmp_path / "mine.tsv", one_reader(), change)
    with pytest.raises(SheetError) as caught:
        read_filled(path, one_reader())
    for word in ("mine.tsv", *words):
        assert word in str(caught.value)


def test_another_readers_sheet_and_a_spreadsheet_file_are_refused(tmp_path: Path) -> None:
    key = dealt()
    path = filled(tmp_path / "theirs.tsv", key[key["reader"] == "reader_2"])
    with pytest.raises(SheetError, match="another picture"):
        read_filled(path, one_reader())
    path.write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(SheetError, match="spreadsheet program's own format"):
        read_filled(path, one_reader())


# Numbers --------------------------------------------------------------------------------------------------------------


def test_kappa_as_by_hand() -> None:
    # Squared differences: 0 0 1 0 4 0, mean 5/6. By chance, over all 36 pairs: (59 + 19 + 15 + 11 + 31 + 19) / 36.
    one, other = [1, 5, 3, 4, 2, 5], [1, 5, 4, 4, 4, 5]
    assert weighted_kappa(one, other) == pytest.approx(1 - (5 / 6) / (154 / 36)) == pytest.approx(62 / 77)
    assert weighted_kappa([0, 5], [5, 0]) == pytest.approx(-1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_quadratic_kappa_is_lins_concordance(pairs: list[tuple[int, int]]) -> None:
    # Lin 1989 with population moments: 2 cov / (var + var + (difference of means)²), the same number by another way.
    a, b = np.array(pairs, float).T
    below = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    if below == 0:
        assert np.isnan(weighted_kappa(a.astype(int), b.astype(int)))
    else:
        expected = 2 * ((a - a.mean()) * (b - b.mean())).mean() / below
        assert weighted_kappa(a.astype(int), b.astype(int)) == pytest.approx(expected, abs=1e-12)


def scored(
    given_by: dict[str, list[int]], again: dict[str, list[int]] | None = None, run: str = "drunet"
) -> pd.DataFrame:
    """Scores of slides 0, 1, 2 …, with a Dice that rises from slide to slide."""
    rows = []
    for presentation, table in ((1, given_by), (2, again or {})):
        for reader, scores in table.items():
            for slide, score in enumerate(scores):
                rows.append((reader, f"s{slide}", run, presentation, score, 0.5 + 0.05 * slide))
    return pd.DataFrame(rows, columns=["reader", "slide", "run", "presentation", "score", "dsc"])


def test_zero_is_counted_apart_and_both_means_are_given() -> None:
    summary = summarise_scores(scored({"a": [0, 4, 5, 3], "b": [0, 4, 4, 4]}, {"a": [1, 1]})).set_index("reader")
    assert summary.loc["a", ["n", "rated", "score_0", "score_1", "score_4"]].tolist() == [4, 3, 1, 0, 1]
    assert summary.loc["a", ["mean", "sd", "mean_with_0"]].tolist() == pytest.approx([4, 1, 3])
    assert summary.loc["all readers", ["n", "rated", "mean"]].tolist() == pytest.approx([8, 6, 4])
    assert len(summarise_scores(scored({"a": [0, 0]}))) == 1
    assert np.isnan(summarise_scores(scored({"a": [0, 0]})).loc[0, "mean"])


def test_agreement_is_between_first_looks_and_of_readers_with_themselves() -> None:
    table = agreement(scored({"a": [5, 4, 0, 3], "b": [5, 3, 4, 3], "c": [1, 2, 3, 4]}, {"a": [5, 3]})).set_index("who")
    assert table.index.tolist() == ["a and b", "a and c", "b and c", "a with themselves"]
    assert table.loc["a and b", ["n", "exact", "n_rated"]].tolist() == [4, 0.5, 3]
    assert table.loc["a and b", "kappa"] == pytest.approx(weighted_kappa([5, 4, 0, 3], [5, 3, 4, 3]))
    assert table.loc["a and b", "kappa_rated"] == pytest.approx(weighted_kappa([5, 4, 3], [5, 3, 3]))
    assert table.loc["a with themselves", ["n", "exact"]].tolist() == [2, 0.5]
    assert agreement(scored({"a": [1, 2]})).empty


def test_the_correlation_is_spearmans_on_what_was_rated() -> None:
    scores = scored({"a": [1, 3, 2, 4, 0], "b": [2, 2, 2, 2, 2]})
    table = correlation(scores).set_index("reader")
    # Ranks 1 3 2 4 against 1 2 3 4: 1 - 6·2 / (4·15) = 0.8.
    assert table.loc["a", ["n", "rho"]].tolist() == pytest.approx([4, 0.8])
    # Of 24 orders 4 reach a correlation of 0.8 or more, and as many one of -0.8 or less.
    assert table.loc["a", "p"] == pytest.approx(8 / 24)
    assert np.isnan(table.loc["b", ["rho", "p"]].tolist()).all()
    assert table.loc["mean of readers", "n"] == 5
    scores.loc[0, "dsc"] = np.nan
    assert correlation(scores).loc[0, "n"] == 3


def test_a_second_look_is_no_second_outline_and_readers_are_averaged_before_they_are_ranked() -> None:
    # Means of 3, 1.5, 2 and 3.5 have the ranks 3 1 2 4: 1 - 6·(4 + 1 + 1) / (4·15) = 0.4; a alone is in perfect order.
    table = correlation(scored({"a": [1, 2, 3, 5], "b": [5, 1, 1, 2]}, {"a": [5]})).set_index("reader")
    assert table.loc["a", ["n", "rho"]].tolist() == pytest.approx([4, 1])
    assert table.loc["mean of readers", ["n", "rho"]].tolist() == pytest.approx([4, 0.4])


def test_runs_are_summarised_apart_and_an_outline_of_each_is_compared() -> None:
    one = scored({"a": [5, 4, 3, 5], "b": [5, 3, 3, 5]}, run="one")
    scores = pd.concat([one, scored({"a": [1, 2, 3], "b": [1, 2, 2]}, run="two")], ignore_index=True)
    summary = summarise_scores(scores).set_index(["run", "reader"])
    assert summary["n"].tolist() == [4, 4, 8, 3, 3, 6]
    assert summary["mean"].tolist() == pytest.approx([17 / 4, 16 / 4, 33 / 8, 6 / 3, 5 / 3, 11 / 6])
    # Seven outlines, though four slides: 5, 3, 5 and 1, 2 were scored alike.
    assert agreement(scores).set_index("who").loc["a and b", ["n", "exact"]].tolist() == pytest.approx([7, 5 / 7])
    assert correlation(scores).set_index(["run", "reader"])["n"].to_dict() == {
        **{("one", reader): 4 for reader in ("a", "b", "mean of readers")},
        **{("two", reader): 3 for reader in ("a", "b", "mean of readers")},
    }


def test_a_perfect_order_of_three_outlines_is_no_proof() -> None:
    """Two of the six orders of three are as extreme; Student's t would say p = 0."""
    table = correlation(scored({"a": [1, 2, 3]}))
    assert table.loc[0, ["rho", "p"]].tolist() == pytest.approx([1.0, 1 / 3])


@given(st.lists(st.integers(1, 5), min_size=3, max_size=6))
def test_the_p_of_few_outlines_counts_their_orders(values: list[int]) -> None:
    found = correlation(scored({"a": values})).loc[0]
    dice = np.arange(len(values))
    if len(set(values)) < 2:
        assert np.isnan(found["p"])
        return
    # Pearson's correlation of the ranks, of every order.
    orders, wanted = np.array(list(permutations(stats.rankdata(values)))), dice - dice.mean()
    orders -= orders.mean(axis=1, keepdims=True)
    rhos = orders @ wanted / (np.linalg.norm(orders, axis=1) * np.linalg.norm(wanted))
    above, below = (np.mean([sign * rho >= sign * found["rho"] - 1e-9 for rho in rhos]) for sign in (1, -1))
    assert found["p"] == pytest.approx(min(1.0, 2 * min(above, below)))


def test_many_outlines_are_left_to_the_usual_approximation() -> None:
    values = [1, 3, 2, 4, 5, 3, 4, 5, 2]
    found = correlation(scored({"a": values})).loc[0]
    assert found["p"] == pytest.approx(stats.spearmanr(values, range(9)).pvalue)


def test_the_long_table_holds_every_number_once() -> None:
    scores = scored({"a": [5, 4, 2, 3], "b": [5, 3, 4, 3]})
    found = summarise_scores(scores), agreement(scores), correlation(scores)
    table = long_metrics(*found)
    assert table.columns.tolist() == ["arm", "protocol", "repeat", "metric", "value"]
    assert len(table) == 3 * 11 + 1 * 5 + 3 * 3
    keyed = table.set_index(["protocol", "repeat", "metric"])["value"]
    assert keyed.index.is_unique
    assert keyed["scores", "a", "mean"] == 3.5
    assert keyed["agreement", "a and b", "kappa"] == found[1].loc[0, "kappa"]


# The section ----------------------------------------------------------------------------------------------------------


def page_of(scores: pd.DataFrame, folder: Path, unread: tuple[str, ...] = ()) -> tuple[dict[str, Any], str]:
    """The view and the words of the page."""
    (folder / "figures").mkdir(parents=True)
    if len(scores):
        save(distribution_figure(scores), folder / "figures/distribution.png", dpi=200)
        save(dice_figure(scores), folder / "figures/dice.png", dpi=200)
    found = summarise_scores(scores), agreement(scores), correlation(scores)
    folders = [(reader, f"results/studies/scores/{reader}") for reader in "ab"]
    published = read_published(FACTS).set_index("figure")["value"][tables.PUBLISHED_FACT]
    view = tables.page_view(*found, published, folders, unread)
    return view, render_section(folder, ROOT / "workflow/studies/scores/page.md.j2", view).text


def test_the_page_sets_the_mean_beside_the_published_one(tmp_path: Path) -> None:
    scores = scored({"a": [4, 5, 3, 4, 0], "b": [4, 4, 3, 5, 4]})
    view, said = page_of(scores, tmp_path)
    assert "2 readers gave the segmentations of run drunet a mean score of 4.00 out of 5 (published" in said
    assert "2025: 3.95), in 9 ratings. In 1 further rating there was nothing to judge" in said
    kappa = weighted_kappa([4, 5, 3, 4, 0], [4, 4, 3, 5, 4])
    assert f"kappa of a and b is {kappa:.2f}".replace("-", "−") in said and "same score to 40 % of 5 segm" in said
    rho = correlation(scores).iloc[-1]
    assert f"Dice is {rho['rho']:.2f} (p = {rho['p']:.3f}, n = {rho['n']})".replace("-", "−") in said
    assert "does not say which of the two its mean is" in said and "Several slides of one patient are not" in said
    assert "come back" not in said and "cannot be measured" not in said
    assert [len(view[name]) for name in ("summary", "agreement", "correlation")] == [3, 1, 3]
    for name in ("distribution", "dice"):
        with Image.open(tmp_path / f"figures/{name}.png") as picture:
            assert picture.width > 1200


@pytest.mark.slow
def test_one_reader_has_no_kappa_and_the_page_says_so(tmp_path: Path) -> None:
    _, said = page_of(scored({"a": [4, 5, 3]}), tmp_path / "one", unread=("b",))
    assert "1 reader gave" in said and "kappa of" not in said
    assert "agreement cannot be measured" in said and "No sheet has come back from b." in said
    _, said = page_of(scored({"a": [0, 0]}, {"a": [0]}), tmp_path / "nothing")
    assert "no score above 0 (published" in said and "Agreement on the same" in said and "correlation of" not in said


def test_without_sheets_the_page_says_what_to_do_and_the_tables_are_empty(tmp_path: Path) -> None:
    none = dealt().head(0).assign(score=0, dsc=0.0)
    _, said = page_of(none, tmp_path, unread=("a", "b"))
    assert "No sheet has come back yet" in said and "a mean score of 3.95 out of 5" in said
    for word in ("scoring_sheet", "study_settings.scores.filled", "study_scores", "studies/scores/a (a), results/"):
        assert word in said
    assert long_metrics(summarise_scores(none), agreement(none), correlation(none)).empty


# Settings -------------------------------------------------------------------------------------------------------------


def test_the_settings_that_ship_obey_their_schema_and_others_do_not() -> None:
    settings = yaml.safe_load((ROOT / "workflow/studies/scores/settings.yaml").read_text(encoding="utf-8"))
    rules.Settings.of(settings, "scores")
    json.dumps(settings)
    wrong = [
        {"readers": ["../x"]},
        {"readers": ["a", "a"]},
        {"repeats": 2},
        {"filled": {"..": "x.tsv"}},
        {"split": "all"},
        {"raeders": []},
    ]
    for change in wrong:
        with pytest.raises(ConfigError):
            rules.Settings.of({**settings, **change}, "scores")
    with pytest.raises(ConfigError, match=r"scores\.filled: unknown reader \(found: reader_3\)\. Did you mean reader_"):
        rules.Settings.of({**settings, "filled": {"reader_3": "b.tsv"}}, "scores")


def test_settings_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "results/studies/scores/a"
    folder.mkdir(parents=True)
    (folder / "sheet.tsv").write_text("", encoding="utf-8")
    (tmp_path / "a.tsv").write_text("", encoding="utf-8")

    def check(path: Path) -> None:
        rules.check({"filled": {"a": str(path)}}, {"results": str(tmp_path / "results")})

    check(tmp_path / "a.tsv")
    for path, message in (
        (folder / "../a/sheet.tsv", "made anew"),
        (tmp_path / "none.tsv", "not there"),
    ):
        with pytest.raises(ConfigError, match=message):
            check(path)
