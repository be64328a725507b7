"""Exports of every layout become the same votes; every row is accounted for; nothing is guessed or passed over."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tuningfork.errors import BadCatalog, DiskError, TreeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice, find_votes, make_labels
from tuningfork.galaxy.tree import Tree
from tuningfork.survey.exports import Export
from tuningfork.survey.zooniverse import VoteSummary, from_zooniverse

GZ2 = Tree.load("gz2")
HEADER = [
    *("classification_id", "user_name", "user_id", "user_ip", "workflow_id", "workflow_name", "workflow_version"),
    *("created_at", "gold_standard", "expert", "metadata", "annotations", "subject_data", "subject_ids"),
]
Walk = list[tuple[int, int]]  # (question, answer) by number


def walk(rng: np.random.Generator, tree: Tree = GZ2) -> Walk:
    """One volunteer's way through the tree."""
    index = {question.name: number for number, question in enumerate(tree.questions)}
    at, way = 0, []
    while True:
        answer = int(rng.integers(len(tree.questions[at].answers)))
        way.append((at, answer))
        after = tree.questions[at].answers[answer].next
        if not after:
            return way
        at = index[after]


def said(way: Walk, tree: Tree = GZ2) -> list[dict[str, Any]]:
    """A way as Panoptes writes it, with a picture in front of the answer as its projects have."""
    return [
        {
            "task": f"T{question}",
            "task_label": f"**{tree.questions[question].text}**",
            "value": f"![a.png](https://panoptes-uploads.zooniverse.org/a_{answer}.png =60x) "
            f"{tree.questions[question].answers[answer].text}",
        }
        for question, answer in way
    ]


def row(number: int, user: str, subject: str, annotations: Any, **more: Any) -> dict[str, Any]:
    """One row of a classification export."""
    logged_in = not user.startswith("not-logged-in")
    data = {subject: {"retired": None, "#iauname": f"J{subject}", "nsa_id": 7.0}}
    return {
        "classification_id": 1000 + number,
        "user_name": user,
        "user_id": len(user) if logged_in else "",
        "user_ip": "b644753d0e3948f81dc2",
        "workflow_id": 10,
        "workflow_name": "a, workflow",
        "workflow_version": "16.55",
        "created_at": f"2024-02-23 16:{number // 60 % 60:02d}:{number % 60:02d} UTC",
        "metadata": json.dumps({"source": "api", "session": f"s{number}"}),
        "annotations": annotations if isinstance(annotations, str) else json.dumps(annotations),
        "subject_data": json.dumps(data),
        "subject_ids": subject,
        **more,
    }


def write(path: Path, rows: list[dict[str, Any]], header: list[str] = HEADER) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, header, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def project(n: int = 300, subjects: int = 12, users: int = 40) -> tuple[list[tuple[str, str, Walk]], np.ndarray]:
    """Clicks of volunteers who never see a subject twice, and the counts that they make."""
    rng = np.random.default_rng(5)
    pairs = rng.permutation(subjects * users)[:n]
    made = [(f"user{pair // subjects}", f"{100 + pair % subjects}", walk(rng)) for pair in pairs.tolist()]
    counts = np.zeros((subjects, GZ2.n_answers), int)
    starts = [part.start for part in GZ2.slices.values()]
    for _, subject, way in made:
        for question, answer in way:
            counts[int(subject) - 100, starts[question] + answer] += 1
    return made, counts


MADE, COUNTS = project()


def counts_of(path: str, kind: str = "count") -> np.ndarray:
    catalog = Catalog.read(path, id="id").select([str(100 + number) for number in range(len(COUNTS))])
    return np.column_stack([catalog[f"{column}_{kind}"] for column in GZ2.columns])


def slug(text: str) -> str:
    return text.lower().replace("'", "-").replace(" ", "-")


def as_classifications(folder: Path) -> Path:
    return write(folder / "c.csv", [row(i, user, one, said(way)) for i, (user, one, way) in enumerate(MADE)])


def as_extracts(folder: Path) -> Path:
    names = dict.fromkeys(f"data.{slug(a.text)}" for q in GZ2.questions for a in q.answers)
    header = ["classification_id", "user_name", "user_id", "workflow_id", "task", "created_at", "subject_id"]
    header += ["extractor", *names, "data.aggregation_version"]
    rows = [
        {
            "classification_id": i, "user_name": user, "workflow_id": 1, "task": GZ2.questions[question].name,
            "subject_id": subject, "extractor": "question_extractor", "data.aggregation_version": "4.1.0",
            f"data.{slug(GZ2.questions[question].answers[answer].text)}": "1.0",
        }
        for i, (user, subject, way) in enumerate(MADE)
        for question, answer in way
    ]  # fmt: skip
    return write(folder / "e.csv", rows, header)


def as_reductions(folder: Path) -> Path:
    names = dict.fromkeys(f"data.{slug(a.text)}" for q in GZ2.questions for a in q.answers)
    rows = []
    for number, counts in enumerate(COUNTS.tolist()):
        for question in GZ2.questions:
            votes = zip(question.answers, counts[GZ2.slices[question.name]], strict=True)
            cells = {f"data.{slug(answer.text)}": float(n) for answer, n in votes if n}
            rows.append({"subject_id": 100 + number, "workflow_id": 1, "task": question.name, "reducer": "q", **cells})
    return write(folder / "r.csv", rows, ["subject_id", "workflow_id", "task", "reducer", *names])


def as_streamed_reductions(folder: Path) -> Path:
    rows = []
    for number, counts in enumerate(COUNTS.tolist()):
        for question in GZ2.questions:
            votes = zip(question.answers, counts[GZ2.slices[question.name]], strict=True)
            data = str({slug(answer.text): n for answer, n in votes if n})
            rows.append({"subject_id": 100 + number, "task": question.name, "reducer": "q", "data": data})
    return write(folder / "s.csv", rows, ["subject_id", "task", "reducer", "data"])


def as_clicks(folder: Path) -> Path:
    rows = [
        {
            "subject": subject,
            "user": user,
            "question": GZ2.questions[q].name,
            "answer": GZ2.questions[q].answers[a].name,
        }
        for user, subject, way in MADE
        for q, a in way
    ]
    return write(folder / "k.csv", rows, ["subject", "user", "question", "answer"])


LAYOUTS = [as_classifications, as_extracts, as_reductions, as_streamed_reductions, as_clicks]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_votes(layout: Any, tmp_path: Path) -> None:
    export = layout(tmp_path)
    summary = from_zooniverse(export, tmp_path / "votes.parquet", tree="gz2")
    np.testing.assert_array_equal(counts_of(summary.path), COUNTS)
    assert summary.n_in == summary.n_done == len(export.read_text().splitlines()) - 1 and summary.n_rejected == 0
    assert not summary.account.flaws and summary.n_impossible == 0 and summary.n_clicks == COUNTS.sum()
    assert summary.n_volunteers == (0 if "reductions" in layout.__name__ else len({user for user, _, _ in MADE}))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [export.name, "votes.parquet", "votes.rejected.parquet"]
    )  # the spill is gone


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".fits", ".vot", ".parquet"])
def test_the_catalogue_is_what_labels_are_made_of(suffix: str, tmp_path: Path) -> None:
    summary = from_zooniverse(as_classifications(tmp_path), tmp_path / f"votes{suffix}", tree=GZ2)
    catalog = Catalog.read(summary.path, id="id")
    kind, values = find_votes(catalog, GZ2)
    assert kind == "counts" and values.sum() == COUNTS.sum()
    labels = make_labels(catalog, LabelChoice("largest", tree="gz2"))
    assert len(labels) == len(COUNTS)
    shares = np.nan_to_num(counts_of(summary.path, "fraction").astype(float))
    np.testing.assert_allclose(shares, np.nan_to_num(GZ2.fractions(COUNTS)), atol=1e-6)  # float32
    first = dict(zip(catalog.ids, catalog["n_volunteers"].tolist(), strict=True))
    assert first["100"] == sum(subject == "100" for _, subject, _ in MADE)


@pytest.mark.parametrize("bytes_", [1 << 12, 1 << 14, 1 << 20])
def test_blocks_of_any_size_and_gzip_give_the_same(bytes_: int, tmp_path: Path) -> None:
    export = as_classifications(tmp_path)
    packed = tmp_path / "c.csv.gz"
    packed.write_bytes(gzip.compress(export.read_bytes()))
    for one in (export, packed):
        seen: list[tuple[int, int]] = []
        out = tmp_path / "votes.csv"

        def progress(done: int, size: int, _: str, seen: list[tuple[int, int]] = seen) -> None:
            seen.append((done, size))

        summary = from_zooniverse(one, out, tree="gz2", block_bytes=bytes_, progress=progress)
        np.testing.assert_array_equal(counts_of(summary.path), COUNTS)
        assert seen and all(0 < done <= size == one.stat().st_size for done, size in seen)


def test_every_row_is_done_or_rejected_with_its_number(tmp_path: Path) -> None:
    good = said(MADE[0][2])
    lines = [row(i, user, one, said(way)) for i, (user, one, way) in enumerate(MADE)]
    user, subject, _ = MADE[0]
    bad: list[tuple[str, dict[str, Any] | str | bytes]] = [
        ("broken_json", row(900, "x1", "100", '[{"task": "T0", "value": "Smooth"')),
        ("broken_json", row(901, "x2", "100", '{"task": "T0"}')),
        ("broken_json", row(902, "x3", "100", '[{"task": "T0", "value": ' + "[" * 900 + "]" * 900 + "}]")),
        ("no_subject", row(903, "x4", "", good)),
        ("several_subjects", row(904, "x5", "100;101", good)),
        ("duplicate", row(905, user, subject, said([(0, 2)]))),
        ("ragged", "1,2,3\n"),
        ("not_utf8", b"1,n\xff,,,10,w,1,2024-02-23 16:00:00 UTC,,,{},[],{},100\n"),
    ]
    export = tmp_path / "c.csv"
    spots = {}
    with export.open("wb") as file:
        import io

        def put(one: dict[str, Any] | str | bytes) -> None:
            if isinstance(one, dict):
                text = io.StringIO()
                csv.DictWriter(text, HEADER, restval="").writerow(one)
                one = text.getvalue()
            file.write(one.encode() if isinstance(one, str) else one)

        file.write((",".join(HEADER) + "\n").encode())
        number = 1
        for i, one in enumerate(lines):
            put(one)
            number += 1
            if i % 30 == 29 and bad[i // 30 : i // 30 + 1]:
                put(bad[i // 30][1])
                number += 1
                spots[number] = bad[i // 30][0]
    summary = from_zooniverse(export, tmp_path / "votes.csv", tree="gz2", block_bytes=1 << 18)
    assert (summary.n_in, summary.n_done, summary.n_rejected) == (len(MADE) + len(bad), len(MADE), len(bad))
    table = pq.read_table(summary.rejected)
    assert dict(zip(table["row"].to_pylist(), table["reason"].to_pylist(), strict=True)) == spots
    assert all(table["detail"].to_pylist()) and max(map(len, table["detail"].to_pylist())) <= 200
    np.testing.assert_array_equal(counts_of(summary.path), COUNTS)
    assert "308 rows in = 300 done + 8 rejected" in str(summary) and "duplicate: 1" in str(summary)


def test_the_first_of_a_volunteers_classifications_counts(tmp_path: Path) -> None:
    rows = [
        row(0, "ann", "5", said([(0, 2)])),
        row(1, "bob", "5", said([(0, 2)])),
        row(2, "ann", "6", said([(0, 2)])),
        row(3, "ann", "5", said([(0, 0), (6, 1), (5, 1)])),
        row(4, "not-logged-in-b6", "5", said([(0, 2)])),
        row(5, "not-logged-in-b6", "5", said([(0, 2)])),
        row(6, "not-logged-in", "5", said([(0, 2)]), user_ip="aa"),
        row(7, "", "5", said([(0, 2)]), user_ip="aa", user_id=""),
        row(8, "", "5", said([(0, 2)]), user_ip="", user_id=""),  # known by the session alone
        row(9, "", "5", said([(0, 2)]), user_ip="", user_id=""),
        row(10, "", "5", said([(0, 2)]), user_ip="", user_id="", metadata="{}"),  # not known at all
        row(11, "", "5", said([(0, 2)]), user_ip="", user_id="", metadata="{}"),
    ]
    summary = from_zooniverse(write(tmp_path / "c.csv", rows), tmp_path / "v.csv", tree="gz2")
    assert pq.read_table(summary.rejected)["row"].to_pylist() == [5, 7, 9]
    catalog = Catalog.read(summary.path).select(["5", "6"])
    assert catalog["t01_smooth_or_features_a03_star_or_artifact_count"].tolist() == [8, 1]
    assert catalog["t01_smooth_or_features_a01_smooth_count"].tolist() == [0, 0]
    assert catalog["n_volunteers"].tolist() == [8, 1]


def test_extracts_of_one_classification_belong_together(tmp_path: Path) -> None:
    header = ["classification_id", "user_name", "user_id", "task", "created_at", "subject_id", "extractor"]
    header += ["data.smooth", "data.in-between", "data.yes", "data.no"]
    base = {"user_name": "ann", "subject_id": "1", "extractor": "question_extractor"}
    rows = [
        {"classification_id": 1, "task": "smooth_or_features", "data.smooth": 1, **base},
        {"classification_id": 2, "task": "smooth_or_features", "data.smooth": 1, **base},
        {"classification_id": 1, "task": "t07_rounded", "data.in-between": 1.0, **base},
        {"classification_id": 2, "task": "odd", "data.yes": 1.0, **base},
        {"classification_id": 1, "task": "odd", "data.no": 1.0, "data.yes": 0, **base},
    ]
    summary = from_zooniverse(write(tmp_path / "e.csv", rows, header), tmp_path / "v.csv", tree="gz2")
    assert pq.read_table(summary.rejected)["row"].to_pylist() == [3, 5] and summary.n_clicks == 3
    assert Catalog.read(summary.path)["t06_odd_a15_no_count"].tolist() == [1]


def test_what_is_worded_otherwise_is_counted_and_named_until_a_map_says_what_it_is(tmp_path: Path) -> None:
    rows = [
        row(0, "a", "1", [{"task": "T0", "task_label": "Smooth or not?", "value": "Featured"}]),
        row(1, "b", "1", [{"task": "T0", "task_label": "Smooth or not?", "value": "Smooth"}]),
        row(2, "c", "1", [{"task": "T1", "task_label": "How rounded is it?", "value": "Very"}]),
        row(3, "d", "1", [{"task": "T1", "task_label": "How rounded is it?", "value": "in-between"}]),
        row(4, "e", "1", [{"task": "T9", "task_label": "Any comment?", "value": "nice"}]),
        row(5, "f", "1", [{"task": "T1", "task_label": "How rounded is it?", "value": None}]),
    ]
    export = write(tmp_path / "c.csv", rows)
    summary = from_zooniverse(export, tmp_path / "v.csv", tree="gz2")
    assert dict(summary.account.flaws) == {
        ("task", "T0 'Smooth or not?'"): 2,
        ("task", "T9 'Any comment?'"): 1,
        ("answer", "t07_rounded: 'Very'"): 1,
        ("empty", "t07_rounded"): 1,
    }
    assert summary.n_clicks == 1 and summary.n_done == 6
    assert summary.n_impossible == 0  # one vote on a later question is within the slack
    for wanted in ("T0 'Smooth or not?' (2)", "'Very' (1)", "give a map"):
        assert wanted in str(summary)
    told = tmp_path / "map.toml"
    told.write_text(
        '[T0]\nquestion = "t01_smooth_or_features"\nanswers = { "Featured" = "a02_features_or_disk" }\n'
        '["How rounded is it?"]\nquestion = "t07_rounded"\n'
        '["How rounded is it?".answers]\n"Very" = "a16_completely_round"\n[T9]\nquestion = ""\n'
    )
    summary = from_zooniverse(export, tmp_path / "v.csv", tree="gz2", map=told)
    assert dict(summary.account.flaws) == {("empty", "t07_rounded"): 1} and summary.n_clicks == 4
    catalog = Catalog.read(summary.path)
    for column in ("t01_smooth_or_features_a01_smooth", "t01_smooth_or_features_a02_features_or_disk"):
        assert catalog[f"{column}_count"].tolist() == [1]
    assert catalog["t07_rounded_a16_completely_round_count"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[T0]\nquestion = "t03_bra"', "did you mean 't03_bar'"),
        ('[T0]\nquestion = "t03_bar"\nanswers = { "Yes" = "a06_bra" }', "did you mean 'a06_bar'"),
        ('[T0]\nquestoin = "t03_bar"', "takes question"),
        ("[T0", "is no TOML"),
    ],
)
def test_a_map_that_does_not_fit_the_tree_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(TreeError, match=words):
        from_zooniverse(as_clicks(tmp_path), tmp_path / "v.csv", tree="gz2", map=tmp_path / "map.toml")


def test_check_boxes_drawings_and_combinations(tmp_path: Path) -> None:
    odd = GZ2.questions[7].text
    rows = [
        row(0, "a", "1", [{"task": "T7", "task_label": odd, "value": ["Ring", "Dust lane"]}]),
        row(1, "b", "1", [{"task": "T7", "task_label": odd, "value": []}]),
        row(2, "c", "1", [{"task": "T2", "task_label": None, "value": said([(0, 0), (6, 1)])}]),
        row(3, "d", "1", [{"task": "T8", "task_label": "Mark it", "value": [
            {"tool": 0, "tool_label": "Lens or arc", "x": 3.5, "y": 1, "frame": 0, "details": []},
            {"tool": 0, "tool_label": "Lens or arc", "x": 9.5, "y": 1, "frame": 0, "details": []}]}]),
        row(4, "e", "1", [{"task": "T8", "task_label": "Mark it", "value": []}]),
        row(5, "f", "1", said([(5, 0)]) + said([(5, 1)])),
    ]  # fmt: skip
    marks = {"T8": {"question": "t08_odd_feature", "answers": {"nothing": "a23_other"}}}
    summary = from_zooniverse(write(tmp_path / "c.csv", rows), tmp_path / "v.csv", tree="gz2", map=marks)
    catalog = Catalog.read(summary.path)
    found = {column: int(catalog[f"{column}_count"][0]) for column in GZ2.columns if catalog[f"{column}_count"][0]}
    assert found == {
        "t01_smooth_or_features_a01_smooth": 1,
        "t06_odd_a14_yes": 1,
        "t07_rounded_a17_in_between": 1,
        "t08_odd_feature_a19_ring": 1,
        "t08_odd_feature_a20_lens_or_arc": 1,
        "t08_odd_feature_a23_other": 1,
        "t08_odd_feature_a38_dust_lane": 1,
    }
    assert dict(summary.account.flaws) == {
        ("several", "t08_odd_feature"): 1,
        ("empty", "t08_odd_feature"): 1,
        ("repeated", "t06_odd"): 1,
    }
    assert summary.n_impossible == 1 and "t08_odd_feature has 4 votes, but only 1 led there" in str(summary)


def test_ids_come_from_the_subjects_metadata(tmp_path: Path) -> None:
    export = as_classifications(tmp_path)
    summary = from_zooniverse(export, tmp_path / "v.csv", tree="gz2", id_key="iauname")
    assert sorted(Catalog.read(summary.path, id="id").ids) == [f"J{100 + number}" for number in range(12)]
    merged = from_zooniverse(export, tmp_path / "v.csv", tree="gz2", id_key="nsa_id")
    assert Catalog.read(merged.path, id="id").ids == ["7"]  # an integer, though Panoptes wrote 7.0
    assert merged.n_done == len({user for user, _, _ in MADE}) and merged.n_in == merged.n_done + merged.n_rejected
    with pytest.raises(BadCatalog, match="no vote"):
        from_zooniverse(export, tmp_path / "v.csv", tree="gz2", id_key="objid")
    assert set(pq.read_table(tmp_path / "v.rejected.parquet")["reason"].to_pylist()) == {"no_subject"}
    for layout in (as_extracts, as_clicks):
        with pytest.raises(BadCatalog, match="without the subjects' metadata"):
            from_zooniverse(layout(tmp_path), tmp_path / "v.csv", tree="gz2", id_key="iauname")


def test_other_workflows_are_told_and_can_be_left_out(tmp_path: Path) -> None:
    rows = [row(i, f"u{i}", "1", said([(0, 2)]), workflow_id=10 + i % 2) for i in range(6)]
    export = write(tmp_path / "c.csv", rows)
    everything = from_zooniverse(export, tmp_path / "v.csv", tree="gz2")
    assert everything.n_in == 6 and "10 (3), 11 (3)" in str(everything)
    some = from_zooniverse(export, tmp_path / "v.csv", tree="gz2", workflow="11")
    assert (some.n_in, some.n_done, some.account.n_left_out) == (3, 3, 3) and "3 rows of other workflows" in str(some)


def test_reductions_that_are_no_counts(tmp_path: Path) -> None:
    rows = [
        {"subject_id": "1", "task": "t02_edgeon", "reducer": "q", "data.yes": "3", "data.no": ""},
        {"subject_id": "1", "task": "t02_edgeon", "reducer": "q", "data.yes": "4", "data.no": ""},
        {"subject_id": "2", "task": "t02_edgeon", "reducer": "q", "data.yes": "0.5", "data.no": "0.5"},
        {"subject_id": "3", "task": "t02_edgeon", "reducer": "q", "data.yes": "-1", "data.no": "nan"},
        {"subject_id": "", "task": "t02_edgeon", "reducer": "q", "data.yes": "1"},
    ]
    export = write(tmp_path / "r.csv", rows, ["subject_id", "task", "reducer", "data.yes", "data.no"])
    summary = from_zooniverse(export, tmp_path / "v.csv", tree="gz2")
    reasons = pq.read_table(summary.rejected)["reason"].to_pylist()
    assert reasons == ["duplicate", "not_a_count", "not_a_count", "no_subject"]
    assert (summary.n_in, summary.n_done, summary.n_clicks) == (5, 1, 3)
    for more in ({"weighting": "consistency"}, {"id_key": "iauname"}):
        with pytest.raises(BadCatalog, match="reductions"):
            from_zooniverse(export, tmp_path / "v.csv", tree="gz2", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "no export of clicks that is known"),
        (b"a,a\n1,2\n", "more than once"),
        (b"subject,user,question,answer\n", "has no vote"),
        (b"subject,user,question,answer\n1,ann,t99,yes\n", "no question of the tree: t99"),
        (b"\x1f\x8bnot gzip at all", "cannot be read on"),
        (b'subject,user,question,answer\n1,ann,"t02_edgeon,yes\n' + b"2,bob,t02_edgeon,yes\n" * 900, "quotation mark"),
    ],
    ids=["empty", "other", "twins", "header", "unmatched", "gzip", "quote"],
)
def test_what_is_no_export_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    export = tmp_path / "x.csv"
    export.write_bytes(content)
    with pytest.raises(BadCatalog, match=words):
        from_zooniverse(export, tmp_path / "v.csv", tree="gz2", block_bytes=4096)
    assert not (tmp_path / "v.csv").exists() and not list(tmp_path.glob(".*"))


def test_a_torn_download_keeps_what_is_whole(tmp_path: Path) -> None:
    export = as_classifications(tmp_path)
    data = export.read_bytes()
    ends = [i for i, byte in enumerate(data) if byte == 10]
    for cut in range(ends[200] + 5, ends[201] - 12, (ends[201] - ends[200]) // 8):  # before the last column begins
        export.write_bytes(data[:cut])
        summary = from_zooniverse(export, tmp_path / "v.csv", tree="gz2")
        assert summary.n_in == 201 and summary.n_done == 200 and summary.n_rejected == 1


def test_a_full_disk_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuningfork import disk

    export = as_classifications(tmp_path)

    def fail(name: str, path: Path) -> None:
        if name == "written" and path.name == "v.csv":
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(disk, "step", fail)
    with pytest.raises(DiskError, match="no space left"):
        from_zooniverse(export, tmp_path / "v.csv", tree="gz2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.csv", "v.rejected.parquet"]


def test_blocks_are_numbered_as_a_spreadsheet_does(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text(
        "subject,user,question,answer\n" + "".join(f"{i},u,q\n" if i % 7 == 3 else f"{i},u,q,a\n" for i in range(500))
    )
    with Export(tmp_path / "k.csv", block_bytes=512) as export:
        seen = [
            (number, int(one))
            for block in export
            for number, one in zip(block.rows.tolist(), block.text("subject").to_pylist(), strict=True)
        ]
        assert all(number == one + 2 for number, one in seen) and export.n_rows == 500
        assert len(seen) + len(export.rejected) == 500 and all(r[0] % 7 == 5 for r in export.rejected)


def test_the_summary_is_one_object(tmp_path: Path) -> None:
    summary = from_zooniverse(as_clicks(tmp_path), tmp_path / "v.csv", tree="gz2")
    assert isinstance(summary, VoteSummary) and summary.n_in == summary.n_done + summary.n_rejected
    with pytest.raises(ValueError, match="weighting"):
        from_zooniverse(tmp_path / "k.csv", tmp_path / "v.csv", tree="gz2", weighting="kappa")  # type: ignore[arg-type]
    with pytest.raises(TreeError, match="attributes"):
        from_zooniverse(tmp_path / "k.csv", tmp_path / "v.csv", tree="efigi")
