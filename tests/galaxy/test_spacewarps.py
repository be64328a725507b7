"""Space Warps: the published counts are explained row by row, and an unknown truth is never an example."""

import numpy as np
import pytest

from tuningfork.errors import BadCatalog, LabelError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice, make_labels
from tuningfork.galaxy.spacewarps import FLAVOURS, LENS, NOT_LENS, REASONS, SpaceWarps

# (rows, kind, truth, flavor, stage, alpha). The totals are the published ones of convnet-galaxies: stage 1 has 24,177
# rows, 21% of them lenses; stage 2 has 10,906, of which 9,030 unknown and 151 lenses. The rest is shared out freely.
PUBLISHED = (
    (3000, "sim", "LENS", "lensed galaxy", 1, 1),
    (1077, "sim", "LENS", "lensing cluster", 1, 1),
    (1000, "sim", "LENS", "lensed quasar", 1, 1),
    (5077, "sim", "LENS", "lensed galaxy", 1, 0),
    (14023, "dud", "NOT", "dud", 1, None),
    (151, "sim", "LENS", "lensed quasar", 2, 1),
    (9030, "test", "UNKNOWN", "test", 2, None),
    (1725, "dud", "NOT", "dud", 2, None),
)


def catalogue(groups=PUBLISHED, drop=()):
    columns = {name: [] for name in ("category", "kind", "truth", "flavor", "stage", "alpha")}
    for rows, kind, truth, flavor, stage, alpha in groups:
        values = ("test" if kind == "test" else "training", kind, truth, flavor, stage, alpha)
        for name, value in zip(columns, values, strict=True):
            columns[name] += [value] * rows
    n = len(columns["kind"])
    kept = {name: values for name, values in columns.items() if name not in drop}
    return Catalog({"id": [f"ASW{i:07d}" for i in range(n)], **kept}, name="'warps.csv'")


def test_the_published_counts_are_explained():
    warps = SpaceWarps.read(catalogue())
    first, second = warps.labels(1), warps.labels(2)
    assert first.names == (NOT_LENS, LENS)
    assert len(first) == 24177 and first.values[:, 1].mean() == pytest.approx(0.21, abs=0.0005)  # published as 21%
    assert first.counts_per_class == {LENS: 5077, NOT_LENS: 14023 + 5077}
    assert second.counts_per_class == {LENS: 151, NOT_LENS: 10906 - 9030 - 151}
    assert second.dropped == {"truth unknown": 9030, "lens, drawn in part (alpha between 0 and 1)": 0}
    text = warps.table()
    for words in ("24,177", "10,906", "9,030", "21.0%", "left out", "lenses: lensing cluster"):
        assert words in text


def test_every_row_has_one_reason_and_the_counts_add_up():
    warps = SpaceWarps.read(catalogue())
    assert {stage: sum(counts.values()) for stage, counts in warps.counts().items()} == {1: 24177, 2: 10906}
    labels = warps.labels()
    assert len(labels) + sum(labels.dropped.values()) == 24177 + 10906


def test_an_unknown_truth_is_never_an_example():
    warps = SpaceWarps.read(catalogue())
    unknown = {i for i, t in zip(warps.catalog.ids, warps.catalog["truth"], strict=True) if t == "UNKNOWN"}
    for by in ("lens", "flavor"):
        assert not unknown & set(warps.labels(by=by).ids)
        assert not unknown & set(warps.labelled(by=by).ids)


def test_a_lens_that_is_not_drawn_is_no_lens_and_a_faint_one_is_left_out():
    groups = [(1, "sim", "LENS", "lensed galaxy", 1, alpha) for alpha in (1, 0, 0.5)]
    labels = SpaceWarps.read(catalogue(groups)).labels()
    assert labels.ids == ("ASW0000000", "ASW0000001")
    assert labels.classes.tolist() == [1, 0]
    assert labels.dropped["lens, drawn in part (alpha between 0 and 1)"] == 1


def test_flavours_refine_the_lenses_alone():
    warps = SpaceWarps.read(catalogue())
    flavours, lenses = warps.labels(1, by="flavor"), warps.labels(1)
    assert flavours.names == (NOT_LENS, *FLAVOURS)
    assert flavours.counts_per_class == dict(zip(flavours.names, (19100, 3000, 1077, 1000), strict=True))
    assert flavours.ids == lenses.ids
    assert np.array_equal(flavours.values[:, 1:].sum(1), lenses.values[:, 1])  # the flavours of a lens sum to "lens"


def test_words_are_read_in_any_case_and_the_labelled_rows_train_as_any_other():
    groups = [(3, "SIM", "lens", "Lensed  Galaxy", 1, 1), (2, "Dud", "Not", "DUD", 2, 0)]
    table = SpaceWarps.read(catalogue(groups)).labelled()
    assert make_labels(table, LabelChoice()).counts_per_class == {LENS: 3, NOT_LENS: 2}


def test_a_catalogue_of_a_file_reads_the_same(tmp_path):
    catalogue().write(tmp_path / "warps.csv")
    read = SpaceWarps.read(Catalog.read(tmp_path / "warps.csv"))
    assert read.counts() == SpaceWarps.read(catalogue()).counts()


def test_without_alpha_nothing_is_guessed():
    with pytest.raises(BadCatalog, match=r"'warps.csv' has no column 'alpha'.*here are id, category, kind"):
        SpaceWarps.read(catalogue(drop=("alpha",)))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((1, "sim", "NOT", "lensed galaxy", 1, 1), "a sim has category training, truth LENS"),
        ((1, "sim", "LENS", "dud", 1, 1), "a sim has category training, truth LENS"),
        ((1, "dud", "LENS", "dud", 1, 1), "a dud has category training, truth NOT"),
        ((1, "test", "NOT", "test", 1, None), "a test has category test, truth UNKNOWN"),
        ((1, "training", "NOT", "dud", 1, None), "kind is none of sim, dud, test"),
        ((1, "dud", "MAYBE", "dud", 1, None), "truth is none of LENS, NOT, UNKNOWN"),
        ((1, "dud", "NOT", "dud", 3, None), "stage is neither 1 nor 2"),
        ((1, "sim", "LENS", "lensed galaxy", 1, None), "alpha of a lens lies between 0 and 1"),
        ((1, "sim", "LENS", "lensed galaxy", 1, 1.5), "alpha of a lens lies between 0 and 1"),
    ],
)
def test_impossible_rows_are_listed(row, words):
    groups = [(2, "dud", "NOT", "dud", 1, None), row, (1, "sim", "LENS", "lensed galaxy", 1, 1)]
    with pytest.raises(BadCatalog, match=r"1 rows of 'warps\.csv'") as raised:
        SpaceWarps.read(catalogue(groups))
    assert words in str(raised.value) and "row 3 (id ASW0000002)" in str(raised.value)


def test_words_for_numbers_are_listed():
    table = catalogue([(2, "dud", "NOT", "dud", 1, None)]).with_columns({"alpha": ["", "full"]})
    with pytest.raises(BadCatalog, match=r"alpha is no number:\n  row 2 \(id ASW0000001\): 'full'"):
        SpaceWarps.read(table)


def test_a_stage_without_lenses_says_so():
    with pytest.raises(LabelError, match="0 lenses and 2 others in stage 1"):
        SpaceWarps.read(catalogue([(2, "dud", "NOT", "dud", 1, None)])).labels(1)
    with pytest.raises(LabelError, match="stage is 3"):
        SpaceWarps.read(catalogue()).labels(3)


def test_reasons_are_the_closed_list():
    assert set(SpaceWarps.read(catalogue()).reasons) <= set(REASONS)
