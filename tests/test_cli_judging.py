"""The verbs beside the network as a user types them: baseline, compare, humans; and errors as programs read them."""

import json
from pathlib import Path

import numpy as np
import pytest

import tuningfork
from tuningfork import Votes, cli
from tuningfork.errors import Stopped
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.votes import VotesWriter

SIDE, N = 24, 90
KINDS = ("round", "flat", "ring")
SMALL = ("--set", "baseline.side=16", "--threads", 1)


def picture(kind: str, seed: int) -> np.ndarray:
    """A blob of one of three shapes, (SIDE, SIDE, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2 + rng.normal(0, 0.3, (2, 1, 1))
    r = {"round": np.hypot(x, y), "flat": np.hypot(x, 4 * y), "ring": 3 * np.abs(np.hypot(x, y) - 7)}[kind]
    light = np.exp(-r / 4)[..., None] * [1, 0.8, 0.6] + rng.normal(0, 0.03, (SIDE, SIDE, 3))
    return (255 * np.clip(light, 0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images/, their table labels.csv, the store made of them, and a network that learnt round or not."""
    folder = tmp_path_factory.mktemp("sky")
    (folder / "sky" / "images").mkdir(parents=True)
    lines = ["objid,class"]
    for k in range(N):
        name, kind = f"g{k:03d}", KINDS[k % 3]
        (folder / "sky" / "images" / f"{name}.jpg").write_bytes(Record.from_picture(name, picture(kind, k)).data)
        lines.append(f"{name},{kind}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    tuningfork.ingest(folder / "sky", folder / "store", labels=folder / "labels.csv")
    changes = {
        "model.backbone": "s4_resnet", "display.size": 16, "train.epochs": 1, "train.threads": 1,
        "labels.merge": "other=flat+ring", "split.method": "stratified", "split.test": 0.4, "split.seed": 7,
    }  # fmt: skip
    tuningfork.train(folder / "store", folder / "run", labels="class", changes=changes)
    return folder


# --- baseline ---------------------------------------------------------------------------------------------------------


def test_a_baseline_learns_from_the_command_line_and_accounts_for_every_galaxy(run, sky: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.parquet"
    words = ("--kind", "logistic", "--on", "pca", "--set", "baseline.components=10", "--set", "split.test=0.4", *SMALL)
    done = run("baseline", sky / "store", "--labels", "class", "--out", out, *words)
    assert done.code == 0, done.err
    n = Votes.read(out).n_in
    assert f"{n} galaxies in = {n} done + 0 rejected: '{out}'" in done.out
    assert done.out.startswith("logistic regression on principal components, fitted on ")
    judged = run("evaluate", out, "--truth", sky / "labels.csv", "--out", tmp_path / "r.html", "--json")
    assert json.loads(judged.out)["numbers"]["metrics"]["accuracy"]["value"] > 0.8  # of three shapes; chance: 1/3


def test_a_baseline_beside_a_run_has_its_split_its_labels_and_its_crop(run, sky: Path, tmp_path: Path) -> None:
    net, tree, all_three = (tmp_path / f"{name}.parquet" for name in ("net", "tree", "three"))
    assert run("predict", sky / "store", "--model", sky / "run", "--part", "test", "--out", net).code == 0
    assert run("baseline", sky / "store", "--run", sky / "run", "--out", tree, *SMALL).code == 0
    theirs, ours = Votes.read(net), Votes.read(tree)
    assert theirs.ids == ours.ids and sorted(theirs.names) == sorted(ours.names) == ["other", "round"]
    assert ours.metadata["baseline"]["display"]["bands"] == ["red", "green", "blue"]
    words = ("--run", sky / "run", "--merge", "none", "--part", "validation")
    assert run("baseline", sky / "store", *words, "--out", all_three, *SMALL).code == 0  # a flag wins over the run
    assert sorted(Votes.read(all_three).names) == sorted(KINDS)
    assert not set(Votes.read(all_three).ids) & set(theirs.ids)


def test_a_baseline_on_the_features_of_a_network(run, sky: Path, tmp_path: Path) -> None:
    words = ("--on", "features", "--model", sky / "run", "--kind", "svm", "--run", sky / "run")
    done = run("baseline", sky / "store", *words, "--out", tmp_path / "v.parquet", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["name"] == "linear SVM on the features of run"


def test_a_column_a_table_and_dropped_classes_are_as_in_train(run, sky: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.parquet"
    for labels in ("class", sky / "labels.csv"):
        words = ("--labels", labels, "--drop", "ring", "--out", out)
        assert run("baseline", sky / "store", *words, *SMALL).code == 0
        assert sorted(Votes.read(out).names) == ["flat", "round"]
    done = run("baseline", sky / "store", "--labels", "klass", "--out", out)
    assert done.code == cli.FAILED and "klass" in done.err and "class" in done.err


def test_galaxies_that_cannot_be_read_are_told_and_change_the_exit_code(run, sky: Path, tmp_path: Path) -> None:
    (tmp_path / "sky").mkdir()
    for k in range(N):
        data = Record.from_picture(f"g{k:03d}", picture(KINDS[k % 3], k)).data
        (tmp_path / "sky" / f"g{k:03d}.jpg").write_bytes(data if k % 5 else data[:300])
    words = ("--labels", sky / "labels.csv", "--out", tmp_path / "v.parquet", "--set", "split.test=0.4", *SMALL)
    done = run("baseline", tmp_path / "sky", *words, "--json")
    counts = json.loads(done.out)
    assert done.code == cli.REJECTED and counts["n_in"] == counts["n_done"] + counts["n_rejected"]
    assert counts["n_rejected"] > 0 and counts["n_train_rejected"] > 0
    assert counts["reasons"] == {"truncated": counts["n_rejected"]}
    done = run("baseline", tmp_path / "sky", *words)
    assert f"({counts['n_train_rejected']} more could not be used)" in done.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--kind", "forrest"), "did you mean 'forest'"),
        (("--on", "features"), "features come from a model"),
        (("--part", "tset"), "no part 'tset'"),
        (("--set", "baseline.dept=3"), "did you mean 'depth'"),
        (("--set", "baseline.depth"), "write KEY=VALUE"),
        (("--run", "nowhere"), "'nowhere' is no model"),
        (("--tree", "gz2"), "gz2"),
    ],
)
def test_what_a_baseline_cannot_do_is_refused_before_any_work(run, sky: Path, tmp_path: Path, words, says: str) -> None:
    done = run("baseline", sky / "store", "--out", tmp_path / "v.parquet", *words)
    assert done.code == cli.FAILED and says in done.err and not (tmp_path / "v.parquet").exists()


# --- compare ----------------------------------------------------------------------------------------------------------


def votes(path: Path, sharpness: float, seed: int = 0, card: dict | None = None) -> Path:
    """Votes on the N galaxies of three kinds, right the more often the larger ``sharpness`` is."""
    z = np.random.default_rng(seed).normal(size=(N, 3)) + sharpness * np.eye(3)[np.arange(N) % 3]
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    told = {"part": "test", "model": {"name": path.stem}, "card": card or {}}
    with VotesWriter(path, "classes", KINDS, None, told) as writer:
        writer.write([f"g{k:03d}" for k in range(N)], None, None, p.astype(np.float32))
    return path


def test_votes_are_compared_on_one_page(run, sky: Path, tmp_path: Path) -> None:
    two = votes(tmp_path / "sharp.parquet", 4), votes(tmp_path / "dull.parquet", 1, seed=1)
    words = ("--truth", sky / "labels.csv", "--out", tmp_path / "page.html")
    done = run("compare", *two, *words)
    assert done.code == 0, done.err
    assert f"dull: {N} galaxies in = {N} done + 0 rejected" in done.out and "“dull” differs from “sharp”" in done.out
    numbers = json.loads(run("compare", *two, *words, "--names", "ours, theirs", "--json").out)
    assert numbers["names"] == ["ours", "theirs"] and numbers["n_judged"] == N
    assert numbers["numbers"]["votes"]["theirs"]["difference"]["accuracy"]["high"] < 0
    assert "theirs" in (tmp_path / "page.html").read_text()
    store = json.loads(run("compare", *two, "--truth", sky / "store", "--out", tmp_path / "s.html", "--json").out)
    assert store["numbers"]["votes"]["sharp"] == numbers["numbers"]["votes"]["ours"]


def test_labels_of_a_comparison_are_those_of_the_card_and_flags_win(run, sky: Path, tmp_path: Path) -> None:
    card = {"labels": {"kind": "column", "column": "class", "drop": ["ring"]}}
    two = votes(tmp_path / "a.parquet", 4, card=card), votes(tmp_path / "b.parquet", 1, seed=1)
    words = ("--truth", sky / "labels.csv", "--out", tmp_path / "page.html", "--json")
    assert json.loads(run("compare", *two, *words).out)["n_judged"] == N * 2 // 3
    assert json.loads(run("compare", *two, *words, "--drop", "none").out)["n_judged"] == N
    merged = json.loads(run("compare", *two, *words, "--drop", "none", "--merge", "disk=flat+ring").out)
    assert merged["numbers"]["classes"] == ["disk", "round"]
    done = run("compare", *two, *words, "--column", "kind")
    assert done.code == cli.FAILED and "'kind'" in json.loads(done.err)["error"]


def test_what_cannot_be_compared_is_refused(run, sky: Path, tmp_path: Path) -> None:
    one = votes(tmp_path / "a.parquet", 4)
    words = ("--truth", sky / "labels.csv", "--out", tmp_path / "page.html")
    done = run("compare", one, *words)
    assert done.code == cli.FAILED and "two or more" in done.err
    done = run("compare", one, one, *words, "--names", "a,b,c")
    assert done.code == cli.FAILED and "['a', 'b', 'c']" in done.err
    done = run("compare", one, tmp_path / "none.parquet", *words)
    assert done.code == cli.FAILED and "none.parquet" in done.err


# --- humans -----------------------------------------------------------------------------------------------------------

COLUMNS = ("P_EL", "P_CW", "P_ACW", "P_EDGE", "P_DK", "P_MG")
FOUR = ("elliptical", "spiral", "edge_on", "merger")
LABELS = {"tree": "gz1", "merge": {"spiral": ["spiral_clockwise", "spiral_anticlockwise"]}, "drop": ["dont_know"]}


@pytest.fixture
def people(tmp_path: Path):
    """people(card) -> (votes, truth): a machine that is unlike Galaxy Zoo 1's volunteers by noise alone."""

    def build(**card: object) -> tuple[Path, Path]:
        rng = np.random.default_rng(0)
        shares = rng.dirichlet(np.full(6, 0.8), N)
        rows = [",".join([f"g{k}", *(f"{value:.6f}" for value in row)]) for k, row in enumerate(shares)]
        (tmp_path / "people.csv").write_text("\n".join([",".join(["id", *COLUMNS]), *rows]) + "\n")
        p = np.column_stack([shares[:, 0], shares[:, 1] + shares[:, 2], shares[:, 3], shares[:, 5]])
        p *= np.exp(rng.normal(0, 0.3, p.shape))
        p /= p.sum(1, keepdims=True)
        with VotesWriter(tmp_path / "v.parquet", "classes", FOUR, None, {"card": card} if card else {}) as writer:
            writer.write([f"g{k}" for k in range(N)], None, None, p.astype(np.float32))
        return tmp_path / "v.parquet", tmp_path / "people.csv"

    return build


def test_a_machine_is_held_against_people_by_card_or_by_flags(run, people, tmp_path: Path) -> None:
    page = ("--out", tmp_path / "page.html", "--json")
    machine, truth = people(labels={"kind": "threshold", "threshold": 0.95, **LABELS})
    by_card = json.loads(run("humans", machine, "--truth", truth, *page).out)
    assert by_card["n_in"] == by_card["n_judged"] == N and "<html" in (tmp_path / "page.html").read_text()
    assert by_card["numbers"]["where_unsure"]["agreement"]["value"] > 0.5
    machine, truth = people()
    flags = ("--tree", "gz1", "--merge", "spiral=spiral_clockwise+spiral_anticlockwise", "--drop", "dont_know")
    by_flags = run("humans", machine, "--truth", truth, *page, *flags)
    assert json.loads(by_flags.out)["numbers"] == by_card["numbers"]
    narrow = json.loads(run("humans", machine, "--truth", truth, *page, *flags, "--unsure", "0.4,0.6").out)
    assert narrow["numbers"]["unsure"] == [0.4, 0.6]
    assert 0 < narrow["numbers"]["where_unsure"]["galaxies"] < by_card["numbers"]["where_unsure"]["galaxies"]


def test_a_network_of_counts_is_read_as_shares_of_its_first_question(run, people, tmp_path: Path) -> None:
    machine, truth = people(labels={"kind": "counts", **LABELS})
    done = run("humans", machine, "--truth", truth, "--out", tmp_path / "page.html")
    assert done.code == 0 and f"{N} in = {N} done + 0 rejected" in done.out and "page.html" in done.out, done.err


def test_what_says_nothing_of_people_is_refused(run, people, tmp_path: Path) -> None:
    machine, truth = people()
    words = ("humans", machine, "--truth", truth, "--out", tmp_path / "page.html")
    done = run(*words)
    assert done.code == cli.FAILED and "need the votes' tree (--tree NAME" in done.err
    for wrong in ("0.8", "a,b", "0,0.5,1"):
        done = run(*words, "--tree", "gz1", "--unsure", wrong)
        assert done.code == cli.FAILED and f"--unsure '{wrong}'" in done.err
    done = run(*words, "--tree", "gz1", "--radius", "2")
    assert done.code == cli.FAILED and "no angle with a unit" in done.err
    assert not (tmp_path / "page.html").exists()


# --- errors, as programs read them ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (("tree", "gz3"), "TreeError", "did you mean 'gz2'"),
        (("baseline", "nowhere", "--out", "v.parquet"), "BadStore", "nowhere"),
        (("tree", "--no-such-flag"), "NoSuchOption", "--no-such-flag"),
        (("compare", "a.parquet"), "MissingParameter", "truth"),
    ],
)
def test_an_error_is_one_line_of_json_where_json_is_asked_for(run, tmp_path, monkeypatch, words, kind, says) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*words, "--json")
    assert done.code == cli.FAILED and done.out == "" and done.err.count("\n") == 1
    told = json.loads(done.err)
    assert told.keys() == {"error", "kind"} and told["kind"] == kind and says in told["error"]
    plain = run(*words)
    assert plain.code == cli.FAILED and says in plain.err and not plain.err.startswith("{")


@pytest.mark.parametrize(
    ("error", "code", "kind", "says"),
    [
        (Stopped("300 galaxies are kept"), cli.REQUEUE, "Stopped", "300 galaxies are kept"),
        (KeyboardInterrupt(), cli.INTERRUPTED, "KeyboardInterrupt", "run the same command again"),
    ],
)
def test_so_is_an_end_before_the_end(run, monkeypatch, error, code, kind, says) -> None:
    def end(path: str) -> None:
        raise error

    monkeypatch.setattr("tuningfork.workflow.info.info", end)
    done = run("info", "here", "--json")
    assert done.code == code and done.out == ""
    assert json.loads(done.err)["kind"] == kind and says in json.loads(done.err)["error"]
    assert run("info", "here").code == code and says in run("info", "here").err


def test_exit_codes_and_help_are_the_same_with_json(run, tmp_path: Path) -> None:
    (tmp_path / "sky").mkdir()
    data = Record.from_picture("a", picture("flat", 1)).data
    for name, content in (("a", data), ("b", data[:200])):
        (tmp_path / "sky" / f"{name}.jpg").write_bytes(content)
    for words in ((), ("--json",)):
        assert run("ingest", tmp_path / "sky", "--out", tmp_path / f"store{len(words)}", *words).code == cli.REJECTED
        for verb in ("baseline", "compare", "humans"):
            done = run(verb, "--help", *words)
            assert done.code == 0 and verb in done.out and verb in run("--help").out
