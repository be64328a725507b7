"""The verb as people use it: our votes and a rival's, by id and by position, and a page that is whole in itself."""

import html
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from tuningfork.errors import BadVotes, DiskError, LabelError, Reason, Unmatched
from tuningfork.evaluate.judge import evaluate, plain
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Rejected
from tuningfork.galaxy.ingest import ingest
from tuningfork.galaxy.labels import LabelChoice
from tuningfork.galaxy.tree import Tree
from tuningfork.galaxy.votes import Votes, VotesWriter

NAMES = ("edge-on", "elliptical", "merger", "spiral")
CARD = {
    "labels": {"kind": "column", "column": "type", "merge": {"spiral": ["cw", "acw"]}, "drop": ["star"]},
    "temperature": 1.5,
    "history": [{"epoch": e, "train_loss": 1 / e, "validation_loss": 1.1 / e, "accuracy": 0.5} for e in (1, 2, 3)],
    "split": {"method": "hash", "seed": 3},
}


def galaxies(n=120, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.choice(4, p=[0.2, 0.5, 0.1, 0.2], size=n)
    z = generator.normal(size=(n, 4))
    z[np.arange(n), truth] += 2
    sky = np.column_stack([np.linspace(10, 20, n), np.linspace(-5, 5, n)])
    return [f"g{i:03d}" for i in range(n)], truth, softmax(z, axis=1).astype(np.float32), sky


def write(path, ids, p, sky=None, rejected=(), metadata=None, names=NAMES, head="classes", tree=None):
    ra, dec = (None, None) if sky is None else sky.T
    with VotesWriter(
        path, head, names, tree, {"card": CARD, "model": {"name": "m"}} if metadata is None else metadata
    ) as writer:
        writer.write(ids, ra, dec, p, rejected)
    return path


def catalogue(ids, truth, sky=None):
    written = [("cw", "acw")[i % 2] if NAMES[k] == "spiral" else NAMES[k] for i, k in enumerate(truth)]
    columns = {"id": list(ids), "type": written}
    return Catalog(columns if sky is None else columns | {"ra": sky[:, 0], "dec": sky[:, 1]}, name="'truth.csv'")


@pytest.fixture
def ours(tmp_path):
    ids, truth, p, sky = galaxies()
    rejected = [Rejected(ids[3], Reason.TRUNCATED), Rejected("unknown", Reason.NO_SIGNAL)]
    keep = np.arange(120) != 3
    write(tmp_path / "votes.parquet", ids, p[keep], sky, rejected)
    return tmp_path / "votes.parquet", catalogue([*ids, "a star"], [*truth, 1]), truth[keep], p[keep]


def test_a_truth_without_the_column_of_the_card(ours):
    other = Catalog({"id": ["g000"], "morphology": ["cw"]}, name="'other.csv'")
    with pytest.raises(LabelError, match=r"card of these votes.*'type'.*'other.csv' has no such column.*morphology"):
        evaluate(ours[0], other)


def test_our_votes_are_judged_by_the_labels_of_their_card(ours):
    votes, truth, classes, p = ours
    found = evaluate(votes, truth, bootstrap=50)
    assert (found.n_in, found.n_done, found.n_rejected, found.n_judged) == (121, 119, 2, 119)
    assert found.numbers["account"]["rejected"] == {"truncated": 1, "no_signal": 1}
    assert found.numbers["account"]["n_truth_without_votes"] == 2  # the star, and the rejected g003
    assert found.numbers["metrics"]["accuracy"]["value"] == pytest.approx((p.argmax(1) == classes).mean())
    assert sorted(found.numbers["names"]) == sorted(NAMES)
    assert len(found.summary) == 5
    assert found.path == ""
    json.dumps(found.numbers, allow_nan=False)
    assert len(found.warnings) == 1  # the card knows a split, the votes no part of it
    assert found.text().count("\n") == 5


def test_the_temperature_of_the_card_is_undone_and_named(ours):
    votes, truth, *_ = ours
    rows = list(evaluate(votes, truth, bootstrap=0).numbers["calibration"])
    assert rows[0].startswith("before: the card's temperature T = 1.5 undone")
    assert rows[1] == "as predicted"
    assert "cross-fitted" in rows[2]


def test_no_number_depends_on_the_order_of_rows(ours, tmp_path):
    votes, truth, *_ = ours
    table = Votes.read(votes).table
    rows = np.random.default_rng(0).permutation(len(table))
    shuffled = Votes.read(votes)
    shuffled = Votes(table.take(rows), shuffled.layout, shuffled.name)
    other = truth.rows(np.arange(len(truth))[::-1])
    first, second = (evaluate(v, t, bootstrap=50).numbers for v, t in ((Votes.read(votes), truth), (shuffled, other)))
    for numbers in (first, second):
        numbers["account"]["rejected"] = sorted(numbers["account"]["rejected"])
    assert first == second


def test_votes_without_truth_are_refused_or_dropped_and_counted(ours):
    votes, truth, *_ = ours
    part = truth.rows(np.arange(100))
    with pytest.raises(Unmatched, match="20 of 119 rows"):
        evaluate(votes, part, bootstrap=0)
    found = evaluate(votes, part, bootstrap=0, unmatched="drop")
    assert found.n_judged == 99
    assert found.numbers["account"]["n_without_truth"] == 20


def test_ids_that_never_meet_are_refused_even_with_drop(ours):
    votes = ours[0]
    other = Catalog({"id": [f"h{i}" for i in range(5)], "type": ["cw"] * 5})
    with pytest.raises(Unmatched):
        evaluate(votes, other, bootstrap=0, unmatched="drop")


def test_a_rivals_csv_of_probabilities(tmp_path):
    ids, truth, p, _ = galaxies()
    rows = [",".join([name, *(f"{x:.2f}" for x in line)]) for name, line in zip(ids, p, strict=True)]
    path = tmp_path / "rival.csv"
    path.write_text("\n".join(["id,p_edge_on,p_elliptical,p_merger,p_spiral", *rows]))
    with pytest.raises(LabelError, match=r"column 'class', but.*--column.*type"):
        evaluate(path, catalogue(ids, truth), bootstrap=0)
    choice = LabelChoice(column="type", merge={"spiral": ("cw", "acw")})
    found = evaluate(path, catalogue(ids, truth), tmp_path / "r.html", bootstrap=20, choice=choice)
    rounded = np.round(p, 2)
    assert found.numbers["metrics"]["accuracy"]["value"] == pytest.approx((rounded.argmax(1) == truth).mean(), abs=0.01)
    assert "were divided by their sum" in " ".join(found.numbers["notes"])
    assert "were divided by their sum" in (tmp_path / "r.html").read_text()


def test_a_rivals_bare_classes(tmp_path):
    ids, truth, *_ = galaxies()
    path = tmp_path / "rival.csv"
    path.write_text("id,class\n" + "\n".join(f"{name},elliptical" for name in ids) + "\n")
    choice = LabelChoice(column="type", merge={"spiral": ("cw", "acw")})
    found = evaluate(path, catalogue(ids, truth), bootstrap=0, choice=choice)
    assert found.numbers["metrics"]["accuracy"]["value"] == pytest.approx((truth == 1).mean())
    assert found.numbers["metrics"]["balanced_accuracy"]["value"] == 0.25
    assert "bare classes" in found.numbers["notes"][0]


def test_a_class_of_which_the_votes_know_nothing(tmp_path):
    ids, truth, p, _ = galaxies()
    three = p[:, :3] / p[:, :3].sum(1, keepdims=True)
    write(tmp_path / "v.parquet", ids, three, names=NAMES[:3])
    with pytest.raises(LabelError, match=r"holds 'spiral'.*merge or drop"):
        evaluate(tmp_path / "v.parquet", catalogue(ids, truth), bootstrap=0)


def test_by_position(tmp_path):
    ids, truth, p, sky = galaxies()
    votes = write(tmp_path / "v.parquet", ids, p, sky)
    other = catalogue([f"x{i}" for i in range(120)], truth, sky + np.array([0, 1.0 / 3600]))
    with pytest.raises(Unmatched):
        evaluate(votes, other, bootstrap=0)
    near = evaluate(votes, other, bootstrap=0, radius_arcsec=2.0)
    assert near.n_judged == 120
    assert near.numbers["metrics"]["accuracy"]["value"] == pytest.approx((p.argmax(1) == truth).mean())
    assert near.numbers["account"]["separation_arcsec"] == pytest.approx([1.0, 1.0], rel=1e-4)
    with pytest.raises(Unmatched):
        evaluate(votes, other, bootstrap=0, radius_arcsec=0.5)


def test_by_position_without_positions(tmp_path):
    ids, truth, p, sky = galaxies()
    votes = write(tmp_path / "v.parquet", ids, p)
    with pytest.raises(BadVotes, match="holds no positions"):
        evaluate(votes, catalogue(ids, truth, sky), bootstrap=0, radius_arcsec=2.0)


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.alts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        given = dict(attrs)
        self.sources += [given[key] for key in ("src", "href") if key in given]
        self.alts += [given.get("alt")] if tag == "img" else []


def read(path):
    reader = _Reader()
    reader.feed(path.read_text())
    return reader


def test_the_report_is_one_file_that_loads_nothing(ours, tmp_path):
    votes, truth, *_ = ours
    found = evaluate(votes, truth, tmp_path / "report.html", bootstrap=20)
    page = read(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert found.path == str(tmp_path / "report.html")
    assert all(source.startswith(("#", "data:image/")) for source in page.sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|http://|https://", text)
    assert all(page.alts)
    assert len(text) < 5_000_000
    anchors = re.findall(r'href="#([^"]+)"', text)
    assert len(anchors) >= 8
    assert all(f'id="{anchor}"' in text for anchor in anchors)
    for line in found.summary:
        assert line.split("“")[0].split("’")[0].replace("'", "&#39;") in text


def test_a_hostile_id_is_only_text(tmp_path):
    ids, truth, p, _ = galaxies(40)
    ids[5] = "<script>alert(1)</script>"
    ids[6] = '"><img src=x onerror=alert(1)>'
    metadata = {"card": CARD, "model": {"name": "<b>model</b>"}, "source": "</style><script>"}
    write(tmp_path / "v.parquet", ids, p, metadata=metadata)
    evaluate(tmp_path / "v.parquet", catalogue(ids, truth), tmp_path / "r.html", bootstrap=0)
    text = (tmp_path / "r.html").read_text()
    assert "script" not in read(tmp_path / "r.html").tags
    assert "<b>model" not in text
    assert "onerror=alert" not in re.sub(r"&[#\w]+;[^<]*", "", text)


def test_galleries_show_the_pictures_or_say_why_not(tmp_path):
    ids, truth, p, _ = galaxies(40)
    write(tmp_path / "v.parquet", ids, p, metadata={"card": CARD, "source": str(tmp_path / "gone")})
    evaluate(tmp_path / "v.parquet", catalogue(ids, truth), tmp_path / "without.html", bootstrap=0)
    assert "There are no pictures" in (tmp_path / "without.html").read_text()
    (tmp_path / "pictures").mkdir()
    generator = np.random.default_rng(0)
    for name in ids[1:]:
        pixels = generator.integers(0, 255, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{name}.png")
    evaluate(
        tmp_path / "v.parquet",
        catalogue(ids, truth),
        tmp_path / "with.html",
        bootstrap=0,
        images=tmp_path / "pictures",
    )
    page = (tmp_path / "with.html").read_text()
    assert page.count("data:image/jpeg") == 36 - page.count("no picture:")
    assert page.count("data:image/jpeg") >= 33


def test_votes_on_a_tree(tmp_path):
    tree = Tree.load("gz2")
    generator = np.random.default_rng(4)
    n = 60
    counts = np.zeros((n, tree.n_answers), dtype=np.int64)
    asked = {question.name: np.zeros(n, dtype=np.int64) for question in tree.questions}
    asked[tree.questions[0].name][:] = 40
    alpha = 1 + 20 * generator.dirichlet(np.ones(tree.n_answers), size=n)
    for number in tree.order:
        question = tree.questions[number]
        columns = tree.slices[question.name]
        shares = alpha[:, columns] / alpha[:, columns].sum(1, keepdims=True)
        counts[:, columns] = [generator.multinomial(k, s) for k, s in zip(asked[question.name], shares, strict=True)]
        for i, answer in enumerate(question.answers):
            if answer.next:
                asked[answer.next] += counts[:, columns.start + i]
    ids = [f"g{i}" for i in range(n)]
    columns = {f"{name}_count": counts[:, i] for i, name in enumerate(tree.columns)}
    truth = Catalog({"id": ids} | columns)
    write(tmp_path / "v.parquet", ids, alpha.astype(np.float32), None, (), {}, tree.columns, "dirichlet", tree)
    found = evaluate(tmp_path / "v.parquet", truth, tmp_path / "r.html", bootstrap=20)
    shares = tree.to_challenge(tree.fractions(counts)), tree.to_challenge(tree.fractions(alpha.astype(np.float32)))
    assert found.numbers["rmse"]["value"] == pytest.approx(np.sqrt(((shares[0] - shares[1]) ** 2).mean()), rel=1e-6)
    assert found.numbers["rmse"]["value"] < found.numbers["rmse_constant"]["value"]
    first = found.numbers["questions"][tree.questions[0].name]
    assert first["galaxies"] == 60
    assert {"votes_covered", "log_likelihood_gain", "macro_roc_auc", "explained"} <= set(first)
    assert len(found.summary) == 5
    json.dumps(found.numbers, allow_nan=False)
    assert all(read(tmp_path / "r.html").alts)


def test_perfect_votes_on_a_tree_have_no_error(tmp_path):
    tree = Tree.load("gz1")
    ids = [f"g{i}" for i in range(20)]
    counts = np.random.default_rng(0).integers(1, 30, (20, tree.n_answers))
    fractions = tree.fractions(counts).astype(np.float32)
    header = ",".join(["id", *(f"{name}_fraction" for name in tree.columns)])
    rows = [",".join([name, *map(str, line)]) for name, line in zip(ids, fractions.tolist(), strict=True)]
    (tmp_path / "rival.csv").write_text("\n".join([header, *rows]))
    truth = Catalog({"id": ids} | {f"{name}_count": counts[:, i] for i, name in enumerate(tree.columns)})
    found = evaluate(tmp_path / "rival.csv", truth, tmp_path / "r.html", bootstrap=0)
    assert found.numbers["rmse"]["value"] == pytest.approx(0, abs=1e-6)
    assert next(iter(found.numbers["questions"].values()))["accuracy"]["value"] == 1
    shares = Catalog({"id": ids} | {f"{name}_fraction": fractions[:, i] for i, name in enumerate(tree.columns)})
    same = evaluate(tmp_path / "rival.csv", shares, bootstrap=0)
    assert same.numbers["rmse"]["value"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(LabelError, match="predicts the answers of a decision tree"):
        evaluate(tmp_path / "rival.csv", truth.with_columns({"class": ["a", "b"] * 10}), choice=LabelChoice())


def test_a_flag_changes_the_choice_of_the_card_and_no_more(ours, tmp_path):
    votes, truth, *_ = ours
    found = evaluate(votes, truth, tmp_path / "r.html", bootstrap=0, changes={"drop": "merger,star"})
    assert sum(row["galaxies"] for row in found.numbers["classes"].values()) == found.n_judged < 119
    assert found.numbers["classes"]["spiral"]["galaxies"] > 0  # cw and acw are merged as the card says
    assert "--drop merger,star" in (tmp_path / "r.html").read_text()


def test_ids_in_columns_that_nobody_would_guess(ours, tmp_path):
    ids, truth, p, _ = galaxies()
    rows = [",".join([name, *(f"{x:.4f}" for x in line)]) for name, line in zip(ids, p, strict=True)]
    (tmp_path / "rival.csv").write_text("\n".join(["which,p_edge_on,p_elliptical,p_merger,p_spiral", *rows]))
    kinds = [f"{name},{NAMES[k].replace('-', '_')}" for name, k in zip(ids, truth, strict=True)]
    (tmp_path / "truth.csv").write_text("\n".join(["what,class", *kinds]))
    with pytest.raises(BadVotes, match="which"):
        evaluate(tmp_path / "rival.csv", tmp_path / "truth.csv", bootstrap=0)
    found = evaluate(tmp_path / "rival.csv", tmp_path / "truth.csv", bootstrap=0, votes_id="which", truth_id="what")
    assert found.n_judged == 120
    with pytest.raises(BadVotes, match="are in the column 'id', not 'which'"):
        evaluate(ours[0], ours[1], bootstrap=0, votes_id="which")


def test_warnings_are_printed_and_on_the_page(tmp_path):
    ids, truth, p, _ = galaxies()
    for part, words in (("test", ""), (None, "--part test"), ("train", "are the training part")):
        metadata = {"card": CARD} | ({"part": part} if part else {})
        votes = write(tmp_path / "v.parquet", ids, p, metadata=metadata)
        found = evaluate(votes, catalogue(ids, truth), tmp_path / "r.html", bootstrap=0)
        assert len(found.warnings) == bool(words)
        assert found.text().count("warning: ") == bool(words)
        assert words in found.text()
        assert all(line in html.unescape((tmp_path / "r.html").read_text()) for line in found.warnings)


def test_a_file_judged_by_itself(tmp_path):
    ids, truth, p, _ = galaxies()
    votes = write(tmp_path / "v.parquet", ids, p, metadata={})
    (tmp_path / "copy.parquet").write_bytes(votes.read_bytes())
    for other in (votes, tmp_path / "copy.parquet"):
        found = evaluate(votes, other, bootstrap=0, changes={"column": "class"})
        assert "compare it with itself" in found.text()
    catalogue(ids, truth).write(tmp_path / "truth.parquet")
    assert not evaluate(votes, tmp_path / "truth.parquet", bootstrap=0, changes=CARD["labels"]).warnings


def test_a_report_that_cannot_be_written_is_refused_at_once(ours, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys.modules["tuningfork.evaluate.judge"], "judge_classes", None
    )  # would fail as soon as it is called
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="is a folder: name the file"):
        evaluate(ours[0], ours[1], tmp_path)
    with pytest.raises(DiskError, match="a part of its path is a file"):
        evaluate(ours[0], ours[1], tmp_path / "file" / "r.html")


def test_the_truth_of_a_source(tmp_path):
    ids, truth, p, _ = galaxies(40)
    for number, (name, k) in enumerate(zip(ids, truth, strict=True)):
        folder = tmp_path / "sky" / NAMES[k]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    votes = write(tmp_path / "v.parquet", ids, p, metadata={})
    ingest(tmp_path / "sky", tmp_path / "store")
    for place in (tmp_path / "sky", tmp_path / "store"):
        found = evaluate(votes, place, bootstrap=0)
        assert found.n_judged == 40
        assert found.numbers["metrics"]["accuracy"]["value"] == pytest.approx((p.argmax(1) == truth).mean())


def test_the_recipe_of_the_training_is_shown_in_full(tmp_path):
    ids, truth, p, _ = galaxies(40)
    card = CARD | {"training": {"galaxies": {"train": 9}, "recipe": {"long": "x" * 2000, "last": "the end"}}}
    write(tmp_path / "v.parquet", ids, p, metadata={"card": card, "part": "test"})
    evaluate(tmp_path / "v.parquet", catalogue(ids, truth), tmp_path / "r.html", bootstrap=0)
    folded = (tmp_path / "r.html").read_text().split("<details>")[1].split("</details>")[0]
    assert "x" * 2000 in folded
    assert "the end" in folded


def test_numbers_are_plain():
    assert plain({"a": np.float64("nan"), "b": (np.int64(2), "x"), "c": [1.5]}) == {
        "a": None,
        "b": [2, "x"],
        "c": [1.5],
    }
