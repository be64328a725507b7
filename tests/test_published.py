"""Published sets: every card, every layout against a local stand-in, archives that attack, downloads that break."""

import csv
import dataclasses
import gzip
import hashlib
import importlib.util
import io
import json
import math
import os
import re
import shutil
import stat
import struct
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tuningfork import disk, recipe
from tuningfork.errors import (
    BadCatalog,
    BadStore,
    ImpossibleVotes,
    LabelError,
    Locked,
    NetworkError,
    RecipeError,
    TuningforkError,
    Unmatched,
)
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice, make_labels
from tuningfork.galaxy.store import Store
from tuningfork.galaxy.tree import CHALLENGE, Tree
from tuningfork.galaxy.votecolumns import find_votes
from tuningfork.network import Limits, Network, ReplyError
from tuningfork.published import CARDS, Allowance, DataSet, File, datasets, fetch, find_dataset, unpack
from tuningfork.published.archive import prove_gzip


def _load() -> Any:
    if "liar" not in sys.modules:
        spec = importlib.util.spec_from_file_location("liar", Path(__file__).parent / "faults" / "liar.py")
        assert spec and spec.loader
        sys.modules["liar"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["liar"])
    return sys.modules["liar"]


Liar, Say = _load().Liar, _load().Say
CARD_NAMES = sorted(path.stem for path in CARDS.glob("*.toml"))
N = 12
PAGE = b"<!DOCTYPE html><html><title>Sign in</title><body>Please log in</body></html>"


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., Network]]:
    """connect(url, **limits): a network without pauses that may ask one liar."""
    made: list[Network] = []

    def build(url: str, **limits: float) -> Network:
        rates = {url.split("/")[2]: math.inf, "127.0.0.1": math.inf}
        chosen = Limits(**{"tries": 2, "idle": 2.0, "total": 10.0, **limits})  # type: ignore[arg-type]
        made.append(Network(tmp_path / "net", mirrors=[url], rates=rates, limits=chosen, sleep=lambda _: None))
        return made[-1]

    yield build
    for network in made:
        network.close()


# --- made-up files in the layout of each card -------------------------------------------------------------------------


def picture(seed: int, side: int = 24, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def packed(name: str, columns: dict[str, Any]) -> bytes:
    """A table in the format that its name promises."""
    stream = io.BytesIO()
    if name.endswith(".parquet"):
        pq.write_table(pa.table(columns), stream)
        return stream.getvalue()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    data = text.getvalue().encode()
    return gzip.compress(data, mtime=0) if name.endswith(".gz") else data


def votes(tree: Tree) -> np.ndarray:
    """(N, A) counts: ten volunteers agree on every question; galaxy i gives answer i % n to the first."""
    fractions = np.zeros((N, tree.n_answers))
    for part in tree.slices.values():
        fractions[:, part.start] = 1
    first = tree.slices[tree.questions[0].name]
    fractions[:, first] = np.eye(first.stop)[np.arange(N) % first.stop]
    return np.rint(10 * tree.cumulative(fractions))


def hyphens(tree: Tree) -> list[str]:
    """The columns as GZ DECaLS publishes them: smooth-or-featured_featured-or-disk."""
    return [f"{q.name.replace('_', '-')}_{a.name.replace('_', '-')}" for q in tree.questions for a in q.answers]


def vote_columns(card: DataSet) -> dict[str, Any]:
    tree = Tree.load(card.tree)
    counts = votes(tree)
    shares = np.nan_to_num(tree.fractions(counts))
    totals = {q.total: t for q, t in zip(tree.questions, tree.totals(counts).astype(int).T.tolist(), strict=True)}
    pairs = list(zip(tree.columns, counts.astype(int).T.tolist(), shares.T.tolist(), strict=True))
    if card.name.startswith("gz2"):
        return {f"{c}{end}": v for c, k, f in pairs for end, v in (("_count", k), ("_fraction", f), ("_debiased", f))}
    if card.name == "gz-hubble":
        return totals | {f"{c}{end}": f for c, _, f in pairs for end in ("_fraction", "_weighted_fraction")}
    if card.name == "gz-candels":
        return totals | {f"{c}_frac": f for c, _, f in pairs}
    if card.name == "gz-desi":
        return {f"{name}_fraction": f for name, (_, _, f) in zip(hyphens(tree), pairs, strict=True)}
    if card.name == "gz1":
        names = [a.alias for a in tree.questions[0].answers]
        return {"NVOTE": [10] * N} | {name: f for name, (_, _, f) in zip(names, pairs, strict=True)}
    named = zip(hyphens(tree), pairs, strict=True)
    return {f"{name}{end}": v for name, (_, k, f) in named for end, v in (("", k), ("_fraction", f))}


OBJIDS = [1237648720693755900 + 18 * i for i in range(N)]  # beyond 2**53
SKY = {"ra": [10.0 + i for i in range(N)], "dec": [-5.0 + i for i in range(N)]}


def tables_of(card: DataSet) -> dict[str, Any]:
    ids: list[Any] = OBJIDS if card.id in ("dr7objid", "OBJID") else [f"{card.name}-{i}" for i in range(N)]
    sky: dict[str, Any] = dict(SKY)
    if card.name == "gz1":
        sky = {"RA": [f"00:4{i % 10}:00.50" for i in range(N)], "DEC": [f"-0{i % 10}:30:00.0" for i in range(N)]}
    return {card.id: ids, **sky, **vote_columns(card)}


def challenge(rows: int = N) -> dict[str, Any]:
    tree = Tree.load("gz2")
    columns = tree.to_challenge(tree.fractions(votes(tree)[:rows]))
    ids = {"GalaxyID": [100008 + i for i in range(rows)]}
    return ids | dict(zip(CHALLENGE, columns.T.round(6).tolist(), strict=True))


def attributes() -> bytes:
    """EFIGI_attributes.txt: comments, a header, words split by tabs."""
    names = find_dataset("efigi").columns
    lines = ["# EFIGI morphological attributes", "#", "\t".join(names)]
    for i in range(N):
        cells = [c for k in range(17) for c in ((0.5, 0.25, 0.75) if k else (i - 6, i - 7, i - 5))]
        lines.append("\t".join([f"PGC{212 + i:07d}", *map(str, cells)]))
    return ("\n".join(lines) + "\n").encode()


def stack(side: int, sky: bool) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["images"] = np.random.default_rng(1).integers(0, 255, (N, side, side, 3), dtype=np.uint8)
        file["ans"] = np.arange(N, dtype=np.uint8) % 10
        if sky:
            file["ra"], file["dec"], file["pxscale"] = SKY["ra"], SKY["dec"], np.full(N, 0.262)
    return stream.getvalue()


def files_of(card: DataSet) -> dict[str, bytes]:
    """What the stand-in serves for a card, by file name."""
    names = {file.role: file.name for file in card.files}
    if card.layout == "hdf5":
        return {names["stack"]: stack(256 if card.name == "galaxy10-decals" else 69, card.name == "galaxy10-decals")}
    if card.name == "efigi":
        pictures = {f"efigi-1.6/png/PGC{212 + i:07d}.png": picture(i) for i in range(N)}
        return {
            names["pictures"]: tarred({"efigi-1.6/README": b"read me", **pictures}),
            names["table"]: tarred(
                {"./efigi-1.6/EFIGI_attributes.txt": attributes(), "efigi-1.6/EFIGI_SDSS.txt": b"#"}
            ),
        }
    if card.name == "galaxy-challenge":
        pictures = {f"images_training_rev1/{100008 + i}.jpg": picture(i, kind="JPEG") for i in range(N)}
        table = packed("a.csv", challenge())
        return {
            names["pictures"]: zipped({"images_training_rev1/": b"", **pictures}),
            names["table"]: zipped(
                {"training_solutions_rev1.csv": table, "__MACOSX/._training_solutions_rev1.csv": b"x"}
            ),
        }
    if card.name == "gz2-pictures":
        pictures = {f"images/{i + 1}.jpg": picture(i, kind="JPEG") for i in range(N + 3)}
        hidden = {f"__MACOSX/images/._{i + 1}.jpg": b"\0\5" for i in range(N + 3)}
        mapping = {
            "objid": [*OBJIDS, 1, 2, OBJIDS[0]], "sample": ["original"] * (N + 3), "asset_id": list(range(1, N + 4)),
        }  # fmt: skip
        return {
            names["pictures"]: zipped(pictures | hidden),
            names["map"]: packed("a.csv", mapping),
            names["table"]: packed(names["table"], tables_of(card)),
        }
    if card.name == "spacewarps":
        pictures = {f"CFHTLSJ{i}_ASW{i}_grade{i % 4}.0_30asec_gri.png": picture(i) for i in range(N)}
        rows = [
            f"{name}  {30 + i}.5 -{i}.25 0.47 20.6 {i % 4}.0 0.5 50 CFHTLS_1 ASW{i} P"
            for i, name in enumerate(pictures)
        ]
        return {names["pictures"]: zipped(pictures), names["table"]: ("\n".join(rows) + "\n").encode()}
    return {names["table"]: packed(names["table"], tables_of(card))}


def as_served(card: DataSet, files: dict[str, bytes]) -> DataSet:
    """The card with the sizes and digests of made-up files."""
    changed = [
        dataclasses.replace(
            file, size=len(files[file.name]), sha256=hashlib.sha256(files[file.name]).hexdigest(),
            md5=hashlib.md5(files[file.name]).hexdigest(),
        )
        for file in card.files
    ]  # fmt: skip
    return dataclasses.replace(card, files=tuple(changed))


def serve(files: dict[str, bytes]) -> dict[str, Any]:
    return {f"/{name}": Say(data, etag='"1"', ranges=True) for name, data in files.items()}


# --- the cards --------------------------------------------------------------------------------------------------------


def test_the_sets_that_were_promised_are_there() -> None:
    wanted = {"galaxy-challenge", "gz1", "gz2", "gz-hubble", "gz-candels", "gz-decals", "gz-desi", "galaxy10-sdss"}
    assert wanted | {"galaxy10-decals", "efigi", "spacewarps"} <= set(CARD_NAMES)
    assert [card.name for card in datasets()] == CARD_NAMES


@pytest.mark.parametrize("name", CARD_NAMES)
def test_every_card_is_whole(name: str) -> None:
    card = find_dataset(name)
    assert card.name == name
    assert len(card.licence) > 3 and re.search(r"\b(19|20)\d\d\b", card.citation)
    assert card.tree or card.layout in ("hdf5", "classes") or name == "spacewarps"  # the others are votes
    if card.tree:
        assert Tree.load(card.tree).columns
    for file in card.files:
        assert not file.url or file.url.startswith("https://")
        assert not file.verified or file.source
        assert file.role in ("stack",) or file.members or not file.name.endswith((".zip", ".tgz"))
    assert card.fetched == "stand-in"  # change it, and docs/datasets.md, on the day that somebody has fetched it
    assert recipe.from_mapping(DataSet, json.loads(json.dumps(recipe.to_mapping(card)))) == card
    assert card.name in str(card) and card.licence in str(card) and "stand-in" in str(card)


def test_the_document_tells_every_set_and_what_was_fetched() -> None:
    text = (CARDS.parents[2] / "docs" / "datasets.md").read_text()
    for card in datasets():
        assert f"`{card.name}`" in text
    assert "stand-in" in text


def test_the_nearest_name_is_told() -> None:
    with pytest.raises(RecipeError, match="did you mean 'galaxy10-decals'"):
        find_dataset("Galaxy10 DECaLS")
    with pytest.raises(RecipeError, match="did you mean 'gz-hubble'"):
        find_dataset("gz-huble")
    with pytest.raises(RecipeError, match=r"my\.toml"):
        find_dataset("my.toml")


OWN = """
name = "mine"
title = "Mine"
layout = "classes"
licence = "CC0"
citation = "Me 2026"
page = "https://example.org/"
fetched = "real"
[[files]]
name = "mine.zip"
role = "pictures"
url = "https://example.org/mine.zip"
members = "*.png"
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("licence = ", "license = ", "did you mean 'licence'"),
        ('"classes"', '"folders"', "layout"),
        ('citation = "Me 2026"', 'citation = " "', "citation"),
        ("https://example.org/mine", "http://example.org/mine", "no https"),
        ("https://example.org/mine", "https://me:word@example.org/mine", "no https"),
        ('name = "mine.zip"', 'name = "../mine.zip"', "no plain name"),
        ('role = "pictures"', 'role = "stack"', "layout 'classes' takes"),
        ("url = ", 'sha256 = "ABC"\nurl = ', "digests"),
        ("[[files]]", 'tree = "gz9"\n[[files]]', "gz9"),
        ("[[files]]", 'map_id = "asset_id"\n[[files]]', "map"),
        ('url = "https://example.org/mine.zip"', "", "by_hand"),
        ('page = "https://example.org/"', "", "page"),
    ],
)
def test_a_card_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    assert find_dataset(path).allowed == ("example.org",)
    assert old in OWN
    path.write_text(OWN.replace(old, new, 1))
    with pytest.raises(RecipeError, match=re.escape(told)):
        find_dataset(path)


# --- every card against the stand-in ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CARD_NAMES)
def test_a_set_is_fetched_proven_and_ingested(name: str, tmp_path: Path, connect: Callable[..., Network]) -> None:
    files = files_of(find_dataset(name))
    card = as_served(find_dataset(name), files)
    with Liar(serve(files)) as liar:
        network = connect(liar.url)
        done = fetch(card, tmp_path / "out", url=liar.url, network=network)
        asked = len(liar.log)
        again = fetch(card, tmp_path / "out", url=liar.url, network=network)
        assert len(liar.log) == asked == len(files)
    assert {f.name: f.sha256 for f in done.files} == {n: hashlib.sha256(d).hexdigest() for n, d in files.items()}
    assert all(f.came == "downloaded" and f.proven == "sha256" for f in done.files)
    assert all(f.came == "here" for f in again.files)
    assert done.bytes == sum(map(len, files.values())) and card.citation in str(done) and card.licence in str(done)
    assert json.loads((tmp_path / "out" / "fetched.json").read_text())["name"] == name
    assert dataclasses.replace(again, files=done.files) == done

    if done.table:
        catalog = Catalog.read(done.table)
        assert len(catalog) == done.rows == N
    else:
        assert done.store is not None and done.store.n_rejected == 0
        store = Store.open(tmp_path / "out" / "store")
        assert store.verify() == [] and len(store) == done.store.n_done
        catalog = store.catalog
        assert next(iter(store.records())).cutout().pixels.dtype == np.uint8  # type: ignore[union-attr]
    if card.layout == "table" or name == "galaxy10-decals":
        assert catalog.ra is not None and np.isfinite(catalog.ra).all()
    if card.tree and card.tree != "efigi":
        tree = Tree.load(card.tree)
        labels = make_labels(catalog, LabelChoice("largest", tree=card.tree))
        want = [tree.questions[0].answers[i % len(tree.questions[0].answers)].name for i in range(N)]
        if name == "gz2-pictures":  # numbered pictures, sorted as text; the 13th and 14th have no votes
            want = [want[(int(i) - 1) % N if int(i) != N + 3 else 0] for i in catalog.ids]
        assert [labels.names[k] for k in labels.classes] == want


def test_what_is_special_about_each_set_is_kept(tmp_path: Path, connect: Callable[..., Network]) -> None:
    def get(name: str) -> Any:
        files = files_of(find_dataset(name))
        with Liar(serve(files)) as liar:
            return fetch(as_served(find_dataset(name), files), tmp_path / name, url=liar.url, network=connect(liar.url))

    gz1 = Catalog.read(get("gz1").table)
    assert gz1.ids == [str(i) for i in OBJIDS]  # exact beyond 2**53
    assert gz1.ra is not None and gz1.dec is not None
    assert gz1.ra[1] == pytest.approx((41 / 60 + 0.5 / 3600) * 15) and gz1.dec[1] == pytest.approx(-1.5)

    pictures = get("gz2-pictures")
    assert sorted(Store.open(tmp_path / "gz2-pictures" / "store").ids, key=int) == [*map(str, range(1, N + 1)), "15"]
    assert pictures.store.join.left_only == ("13", "14")  # told, not hidden
    assert any("2 of 15 pictures of the map have no row" in note for note in pictures.notes)
    assert any("15 other files stayed inside" in note for note in pictures.notes)

    efigi = Store.open(get("efigi").store.path)
    kind, values = find_votes(efigi.catalog, Tree.load("efigi"))
    assert kind == "attributes" and values[:, 0].tolist() == [i - 6 for i in range(N)] and (values[:, 1:] == 0.5).all()

    ten = Store.open(get("galaxy10-decals").store.path)
    assert ten.catalog["class"][5] == "Barred Spiral Galaxies" and ten.record(ten.ids[0]).pixel_scale == 0.262
    assert Store.open(get("galaxy10-sdss").store.path).catalog["class"][5] == "Disk, Edge-on, Boxy Bulge"

    warps = Store.open(get("spacewarps").store.path)
    grades = dict(zip(warps.ids, warps.catalog["grade"].tolist(), strict=True))
    assert grades["CFHTLSJ3_ASW3_grade3.0_30asec_gri"] == 3.0 and warps.catalog["subject"][0].startswith("ASW")


def test_a_fetch_that_dies_anywhere_ends_as_an_undisturbed_one(
    tmp_path: Path, connect: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(find_dataset("efigi"))
    card = as_served(find_dataset("efigi"), files)
    steps = 0

    def count(step: str, path: Path) -> None:
        nonlocal steps
        steps += 1
        if steps == dies_at:
            raise KeyboardInterrupt

    def content(out: Path) -> dict[str, bytes]:
        kept = [p for p in (out / "store").rglob("*") if p.is_file()]
        assert not list(out.rglob(".part-*")) and not list(out.rglob("*.part-*"))
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in kept}

    monkeypatch.setattr(disk, "step", count)
    with Liar(serve(files)) as liar:
        dies_at = 0
        fetch(card, tmp_path / "calm", url=liar.url, network=connect(liar.url))
        calm, total = content(tmp_path / "calm"), steps
        assert total > 60 and any(name.endswith("store.json") for name in calm)
        for point in range(1, total, 7):
            out, steps, dies_at = tmp_path / f"out{point}", 0, point
            with pytest.raises(KeyboardInterrupt):
                fetch(card, out, url=liar.url, network=connect(liar.url))
            dies_at = 0
            fetch(card, out, url=liar.url, network=connect(liar.url))
            assert content(out) == calm, point


def test_what_a_killed_run_left_is_swept(tmp_path: Path, connect: Callable[..., Network]) -> None:
    files = files_of(find_dataset("efigi"))
    left = [tmp_path / "out" / p / ".part-0123456789ab.tgz" for p in ("", "files", "unpacked/pictures")]
    with Liar(serve(files)) as liar:
        card = as_served(find_dataset("efigi"), files)
        fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url))
        for path in left:
            path.write_bytes(b"torn")
        fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url))
    assert not any(path.exists() for path in left)


def test_a_table_that_was_cut_is_told(tmp_path: Path) -> None:
    data = files_of(find_dataset("gz1"))["GalaxyZoo1_DR_table2.csv.gz"]
    (tmp_path / "own").mkdir()
    for whole in (data[:-9], data[: len(data) // 2]):
        (tmp_path / "own" / "GalaxyZoo1_DR_table2.csv.gz").write_bytes(whole)
        with pytest.raises(BadStore, match="cut or broken"):
            fetch("gz1", tmp_path / "out", own=tmp_path / "own")


def test_what_was_unpacked_may_be_removed(tmp_path: Path, connect: Callable[..., Network]) -> None:
    files = files_of(find_dataset("efigi"))
    card = as_served(find_dataset("efigi"), files)
    with Liar(serve(files)) as liar:
        first = fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url))
        shutil.rmtree(tmp_path / "out" / "unpacked")
        again = fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url))
        assert again.store == first.store
        (tmp_path / "out" / "unpacked" / "pictures" / "PGC9.png").write_bytes(picture(9))
        with pytest.raises(BadStore, match="remove the folder"):
            fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url))


def test_real_votes_keep_the_challenge_s_sums(real_data: Path, tmp_path: Path) -> None:
    """kaggle37.csv: the 37 columns of real Stripe 82 galaxies, whose sums fetch has to accept, and to miss."""
    source = real_data / "gz2_stripe82"
    card = dataclasses.replace(find_dataset("galaxy-challenge"), id="objid", unmatched="drop")
    own = tmp_path / "own"
    (own / "images_training_rev1").mkdir(parents=True)
    rows = list(csv.reader((source / "kaggle37.csv").read_text().splitlines()))
    for path in sorted(path for path in source.rglob("*.jpg"))[:20]:
        (own / "images_training_rev1" / path.name).write_bytes(path.read_bytes())
    text = "\n".join(",".join(row) for row in rows) + "\n"
    (own / "training_solutions_rev1.csv").write_text(text)
    assert fetch(card, tmp_path / "out", own=own).rows == 20
    rows[5][1] = "0.5"
    (own / "training_solutions_rev1.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    with pytest.raises(ImpossibleVotes):
        fetch(card, tmp_path / "other", own=own)


def own_card(tmp_path: Path, old: str = "", new: str = "") -> DataSet:
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(old, new) if old else OWN)
    return find_dataset(path)


def test_class_folders_of_a_card_of_ones_own(tmp_path: Path, connect: Callable[..., Network]) -> None:
    files = {"mine.zip": zipped({f"top/{'spiral' if i % 2 else 'smooth'}/g{i}.png": picture(i) for i in range(6)})}
    with Liar(serve(files)) as liar:
        own_card(tmp_path)
        done = fetch(tmp_path / "own.toml", tmp_path / "out", url=f"{liar.url}/", network=connect(liar.url))
    catalog = Store.open(tmp_path / "out" / "store").catalog
    assert dict(zip(catalog.ids, catalog["class"].tolist(), strict=True))["g3"] == "spiral" and done.rows == 6
    assert done.files[0].proven == "" and "no published digest" in str(done)


# --- downloads that break ---------------------------------------------------------------------------------------------


def test_a_cut_download_goes_on_where_it_ended(tmp_path: Path, connect: Callable[..., Network]) -> None:
    files = files_of(find_dataset("efigi"))
    card = as_served(find_dataset("efigi"), files)
    name = card.files[0].name
    cut = Say(files[name], etag='"1"', ranges=True, cut=len(files[name]) // 2)
    scripts = serve(files) | {f"/{name}": [cut, Say(files[name], etag='"1"', ranges=True)]}
    with Liar(scripts) as liar:
        with pytest.raises(NetworkError):
            fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url, tries=1, piece=1000))
        assert not (tmp_path / "out" / "files" / name).exists() and not (tmp_path / "out" / "store").exists()
        done = fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url, tries=1, piece=1000))
        first = int(liar.asked(f"/{name}")[1].headers["range"].removeprefix("bytes=").split("-")[0])
    assert first >= len(files[name]) // 2 - 1000
    assert done.files[0].came == "resumed" and done.files[1].came == "downloaded"
    assert done.store is not None and done.store.n_done == N


@pytest.mark.parametrize("kind", ["sha256", "md5", "size"])
def test_other_bytes_than_the_card_promises_never_get_the_name(
    kind: str, tmp_path: Path, connect: Callable[..., Network]
) -> None:
    card = find_dataset("gz1")
    files = files_of(card)
    wrong: dict[str, Any] = {"sha256": "0" * 64, "md5": "0" * 32, "size": 17}
    card = dataclasses.replace(card, files=(dataclasses.replace(card.files[0], **{kind: wrong[kind]}),))
    with Liar(serve(files)) as liar, pytest.raises(ReplyError) as error:
        fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url))
    assert error.value.kind == "permanent" and str(wrong[kind]) in str(error.value)
    left = {path.name for path in (tmp_path / "out" / "files").iterdir()} - {".lock"}
    assert not left and not (tmp_path / "out" / "catalog.parquet").exists()


@pytest.mark.parametrize("name", ["galaxy10-sdss", "galaxy10-decals", "gz-decals", "gz-desi"])
def test_the_published_digests_are_really_asked_for(name: str, tmp_path: Path, connect: Callable[..., Network]) -> None:
    card = find_dataset(name)
    with Liar(serve(files_of(card))) as liar, pytest.raises(NetworkError):
        fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url))


@pytest.mark.parametrize("name", CARD_NAMES)
def test_a_web_page_is_not_taken_for_a_file(name: str, tmp_path: Path, connect: Callable[..., Network]) -> None:
    card = find_dataset(name)
    plain = tuple(dataclasses.replace(f, size=0, sha256="", md5="") for f in card.files)
    card = dataclasses.replace(card, files=plain)
    with Liar({f"/{f.name}": Say(PAGE) for f in card.files}) as liar, pytest.raises(NetworkError) as error:
        fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url))
    assert "Sign in" in str(error.value)
    assert ("--from" in str(error.value)) == bool(card.login)


def test_a_refused_login_says_what_to_do(tmp_path: Path, connect: Callable[..., Network]) -> None:
    card = find_dataset("galaxy-challenge")
    with Liar({f"/{card.files[0].name}": Say(b"no", 403)}) as liar, pytest.raises(NetworkError) as error:
        fetch(card, tmp_path / "out", url=liar.url, network=connect(liar.url))
    assert "403" in str(error.value) and "KAGGLE_API_TOKEN" in str(error.value) and card.page in str(error.value)


def test_without_a_token_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN", raising=False)
    with pytest.raises(NetworkError) as error:
        fetch("galaxy-challenge", tmp_path / "out")
    for told in ("KAGGLE_API_TOKEN", "--from FOLDER", "images_training_rev1.zip", "training_solutions_rev1.zip"):
        assert told in str(error.value)
    with pytest.raises(NetworkError, match="git clone"):
        fetch("spacewarps", tmp_path / "warps")


def test_the_token_goes_to_its_host_alone_and_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Callable[..., Network]
) -> None:
    secret = "KGAT_0123456789abcdef"
    monkeypatch.setenv("KAGGLE_API_TOKEN", secret)
    made: list[Network] = []

    class Spy(Network):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            made.append(self)

        def download(self, url: str, path: str | Path, **more: Any) -> Path:
            raise ReplyError(f"'{url}' was not asked: {self!r}", kind="permanent", cause="status", status=401)

    monkeypatch.setattr("tuningfork.published.delivery.Network", Spy)
    with pytest.raises(NetworkError) as error:
        fetch("galaxy-challenge", tmp_path / "out")
    assert made[0]._headers(_url("https://www.kaggle.com/a"), "")["Authorization"] == f"Bearer {secret}"
    assert "Authorization" not in made[0]._headers(_url("https://storage.googleapis.com/a"), "")
    shown = [str(error.value), repr(made[0]), *(p.read_text() for p in (tmp_path / "out").rglob("*.json"))]
    assert all(secret not in text for text in shown)


def _url(text: str) -> Any:
    import httpx

    return httpx.URL(text)


def test_a_network_is_made_where_none_is_given_and_knows_the_card_s_hosts_only(tmp_path: Path) -> None:
    files = files_of(find_dataset("gz1"))
    with Liar(serve(files)) as liar:
        assert fetch(as_served(find_dataset("gz1"), files), tmp_path / "out", url=liar.url).rows == N
        card = dataclasses.replace(find_dataset("gz1"), files=(File("a.csv", "table", "https://localhost:1/a.csv"),))
        with pytest.raises(NetworkError, match=r"no public address|not asked"):
            fetch(card, tmp_path / "other")


def test_one_folder_is_for_one_set(tmp_path: Path, connect: Callable[..., Network]) -> None:
    files = files_of(find_dataset("gz1")) | files_of(find_dataset("gz-candels"))
    with Liar(serve(files)) as liar:
        card = find_dataset("gz1")
        done = fetch(as_served(card, files), tmp_path / "out", url=liar.url, network=connect(liar.url), ingest=False)
        assert done.rows == 0 and not (tmp_path / "out" / "catalog.parquet").exists()
        with pytest.raises(BadStore, match="holds 'gz1', not 'gz-candels'"):
            fetch("gz-candels", tmp_path / "out", url=liar.url, network=connect(liar.url))
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("precious")
        with pytest.raises(BadStore, match=r"thesis\.txt"):
            fetch("gz1", tmp_path / "mine", url=liar.url)
        with disk.lock(tmp_path / "out"), pytest.raises(Locked):
            fetch("gz1", tmp_path / "out", url=liar.url)


# --- tables that are not what they should be --------------------------------------------------------------------------


def write_challenge(folder: Path, table: dict[str, Any], *, packed_up: bool = False) -> Path:
    pictures = {f"images_training_rev1/{100008 + i}.jpg": picture(i, kind="JPEG") for i in range(N)}
    files = {**pictures, "training_solutions_rev1.csv": packed("a.csv", table)}
    if packed_up:
        files = {
            "images_training_rev1.zip": zipped(pictures),
            "training_solutions_rev1.zip": zipped({"training_solutions_rev1.csv": packed("a.csv", table)}),
        }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("packed_up", [False, True], ids=["unpacked", "packed"])
def test_the_galaxy_challenge_from_an_own_download(tmp_path: Path, packed_up: bool) -> None:
    own = write_challenge(tmp_path / "own", challenge(), packed_up=packed_up)
    done = fetch("galaxy-challenge", tmp_path / "out", own=own)
    assert done.rows == N and all(f.came == "own" for f in done.files)
    labels = make_labels(Store.open(tmp_path / "out" / "store").catalog, LabelChoice("largest", tree="gz2"))
    assert labels.names[labels.classes[0]] == "a01_smooth" and len(labels) == N
    assert "the card speaks of 61,578 galaxies" in str(done)
    assert fetch("galaxy-challenge", tmp_path / "out", own=own).store == done.store


def test_the_galaxy_challenge_with_wrong_sums_or_columns_is_refused(tmp_path: Path) -> None:
    table = challenge()
    table["Class1.1"] = [value * 0.9 for value in table["Class1.1"]]
    with pytest.raises(ImpossibleVotes, match="q6"):
        fetch("galaxy-challenge", tmp_path / "a", own=write_challenge(tmp_path / "1", table))
    table = challenge()
    del table["Class9.2"]
    with pytest.raises(LabelError, match=r"Class9\.2"):
        fetch("galaxy-challenge", tmp_path / "b", own=write_challenge(tmp_path / "2", table))
    with pytest.raises(Unmatched):  # a picture without a row
        fetch("galaxy-challenge", tmp_path / "c", own=write_challenge(tmp_path / "3", challenge(N - 1)))
    for name in "abc":
        assert not (tmp_path / name / "store" / "store.json").exists()


def test_an_own_folder_that_lacks_something_says_what(tmp_path: Path) -> None:
    own = write_challenge(tmp_path / "own", challenge())
    (own / "training_solutions_rev1.csv").rename(own / "solutions.csv")
    with pytest.raises(BadStore, match=r"training_solutions_rev1\.zip.*images_training_rev1/\*\.jpg"):
        fetch("galaxy-challenge", tmp_path / "out", own=own)
    (own / "training_solutions_rev1.zip").write_bytes(PAGE)
    with pytest.raises(BadStore, match="login page"):
        fetch("galaxy-challenge", tmp_path / "out", own=own)
    with pytest.raises(BadStore, match="is no folder"):
        fetch("galaxy-challenge", tmp_path / "out", own=own / "nowhere")
    (own / "training_solutions_rev1.zip").unlink()
    (own / "solutions.csv").rename(own / "training_solutions_rev1.csv")
    (own / "images_training_rev1" / "extra.png").write_bytes(picture(1))
    with pytest.raises(BadStore, match="besides those"):
        fetch("galaxy-challenge", tmp_path / "out", own=own)


def test_votes_that_nobody_can_have_cast_are_told_but_kept_where_they_were_published(tmp_path: Path) -> None:
    card = find_dataset("gz-decals-12")
    card = dataclasses.replace(card, files=(dataclasses.replace(card.files[0], md5=""),))
    table = tables_of(card)
    table["bar_yes"] = [40] * N  # more than were asked
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / card.files[0].name).write_bytes(packed(card.files[0].name, table))
    done = fetch(card, tmp_path / "out", own=tmp_path / "own")
    assert done.rows == N and any("impossible votes" in note for note in done.notes)
    table = {name: values for name, values in table.items() if not name.startswith("merging")}
    (tmp_path / "own" / card.files[0].name).write_bytes(packed(card.files[0].name, table))
    with pytest.raises(LabelError, match="not the table of 'gz-decals-12'"):
        fetch(card, tmp_path / "other", own=tmp_path / "own")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("T\tT_inf\tT_sup", "T_inf\tT\tT_sup"), ""),  # a header decides
        (lambda text: "\n".join(text.splitlines()[3:]), "outside its own limits"),  # without one, the bounds tell
        (lambda text: text + "PGC9999999\t1\n", "words instead of"),
        (lambda text: "# nothing\n", "no rows|no table"),
        (lambda text: "<html>no</html>", "web page"),
    ],
)
def test_efigi_s_columns_are_not_guessed(tmp_path: Path, change: Callable[[str], str], told: str) -> None:
    folder = tmp_path / "own"
    (folder / "png").mkdir(parents=True)
    for i in range(N):
        (folder / "png" / f"PGC{212 + i:07d}.png").write_bytes(picture(i))
    text = attributes().decode()
    text = change(text)
    if not told or "outside" in told:  # the values of the first two columns in the other order
        text = re.sub(r"(?m)^(PGC\d+)\t(\S+)\t(\S+)", r"\1\t\3\t\2", text)
    (folder / "EFIGI_attributes.txt").write_text(text)
    if told:
        with pytest.raises(BadCatalog, match=told):
            fetch("efigi", tmp_path / "out", own=folder)
    else:
        done = fetch("efigi", tmp_path / "out", own=folder)
        assert done.store is not None and Store.open(done.store.path).catalog["T"].tolist() == [i - 6 for i in range(N)]


# --- archives that attack (B5) ----------------------------------------------------------------------------------------


def outside(root: Path, folder: Path) -> set[str]:
    """Every file and link below ``root`` that is not below ``folder``."""
    every = {str(Path(where) / name) for where, dirs, names in os.walk(root) for name in (*names, *dirs)}
    return {path for path in every if not path.startswith(str(folder))}


def zip_member(name: str, data: bytes = b"x", mode: int = 0, flags: int = 0) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    entry.flag_bits |= flags
    return entry


BAD_ZIPS: dict[str, list[tuple[zipfile.ZipInfo, bytes]]] = {
    "up": [(zip_member("../evil.png"), b"x")],
    "up, deep": [(zip_member("a/../../evil.png"), b"x")],
    "absolute": [(zip_member("/tmp/evil.png"), b"x")],
    "drive": [(zip_member("C:/evil.png"), b"x")],
    "backslash": [(zip_member("..\\evil.png"), b"x")],
    "link": [(zip_member("evil.png", mode=stat.S_IFLNK | 0o777), b"/etc/passwd")],
    "link that is not wanted": [(zip_member("a.png"), b"x"), (zip_member("link", mode=stat.S_IFLNK), b"..")],
    "fifo": [(zip_member("evil.png", mode=stat.S_IFIFO), b"")],
    "device": [(zip_member("evil.png", mode=stat.S_IFCHR), b"")],
    "duplicate": [(zip_member("a/1.png"), b"x"), (zip_member("b/1.png"), b"y")],
    "case twin": [(zip_member("a.png"), b"x"), (zip_member("A.png"), b"y")],
    "strange name": [(zip_member("a\x1b[2J.png"), b"x")],
    "reserved end": [(zip_member("a.png "), b"x")],
    "nothing wanted": [(zip_member("a.txt"), b"x")],
    "only hidden": [(zip_member("__MACOSX/a.png"), b"x"), (zip_member(".a.png"), b"x")],
}


@pytest.mark.parametrize("case", BAD_ZIPS)
def test_hostile_zips_write_nothing_outside(case: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "a.zip", tmp_path / "out" / "in"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in BAD_ZIPS[case]:
            archive.writestr(entry, data)
    before = outside(tmp_path, folder) | {str(tmp_path / "out")}
    with pytest.raises(BadStore, match=r"refused|no file like"):
        unpack(path, folder, "*.png*")
    assert outside(tmp_path, folder) <= before
    assert not any(entry.is_symlink() for entry in tmp_path.rglob("*"))


def tar_entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


BAD_TARS: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "up": [(tar_entry("../evil.png"), b"x")],
    "absolute": [(tar_entry("/tmp/evil.png"), b"x")],
    "symlink": [(tar_entry("evil.png", tarfile.SYMTYPE, "/etc/passwd"), b"")],
    "symlink then file through it": [
        (tar_entry("d", tarfile.SYMTYPE, ".."), b""), (tar_entry("d/evil.png"), b"x"),
    ],
    "hardlink": [(tar_entry("a.png"), b"x"), (tar_entry("b.png", tarfile.LNKTYPE, "a.png"), b"")],
    "device": [(tar_entry("evil.png", tarfile.CHRTYPE), b"")],
    "block device": [(tar_entry("evil.png", tarfile.BLKTYPE), b"")],
    "fifo": [(tar_entry("evil.png", tarfile.FIFOTYPE), b"")],
    "sparse": [(tar_entry("evil.png", tarfile.GNUTYPE_SPARSE), b"")],
    "duplicate": [(tar_entry("a/1.png"), b"x"), (tar_entry("b/1.png"), b"y")],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("case", BAD_TARS)
def test_hostile_tars_write_nothing_outside(case: str, mode: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "a.tar.gz", tmp_path / "out" / "in"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for entry, data in BAD_TARS[case]:
            entry = tarfile.TarInfo.frombuf(entry.tobuf(), "utf-8", "strict") if case != "sparse" else entry
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    before = outside(tmp_path, folder) | {str(tmp_path / "out")}
    with pytest.raises(BadStore, match=r"refused|is empty|broken"):
        unpack(path, folder, "*.png")
    assert outside(tmp_path, folder) <= before
    assert not any(entry.is_symlink() for entry in tmp_path.rglob("*"))


SMALL = Allowance(members=1000, member=1 << 20, free=1 << 20, ratio=10)


def test_bombs_are_refused_within_their_budget(tmp_path: Path) -> None:
    zeros = bytes(3 << 20)
    (tmp_path / "a.zip").write_bytes(zipped({"a.png": zeros}))
    (tmp_path / "b.zip").write_bytes(zipped({f"{i}.png": bytes(1 << 19) for i in range(9)}))
    (tmp_path / "c.tgz").write_bytes(tarred({"a.png": zeros}))
    (tmp_path / "d.tgz").write_bytes(tarred({f"{i}.txt": bytes(1 << 19) for i in range(9)}))  # not even wanted
    (tmp_path / "e.gz").write_bytes(gzip.compress(zeros))
    for name in "a.zip", "b.zip", "c.tgz", "d.tgz":
        with pytest.raises(BadStore, match="refused"):
            unpack(tmp_path / name, tmp_path / "out", "*.png", allowance=SMALL)
    with pytest.raises(BadStore, match="refused"):
        prove_gzip(tmp_path / "e.gz", SMALL)
    assert prove_gzip(tmp_path / "e.gz") == len(zeros)


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": bytes(5000)}))
    at = data.rfind(b"PK\x01\x02")
    for size in (100, 6000):
        data[at + 24 : at + 28] = struct.pack("<I", size)  # the uncompressed size in the table of contents
        (tmp_path / "a.zip").write_bytes(data)
        with pytest.raises(BadStore):
            unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_hundred_thousand_members_are_refused_at_once(tmp_path: Path) -> None:
    central = b"".join(
        struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0)
        + b"%010d" % i
        for i in range(100_000)
    )
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, 10, 0) + b"%010d" % 0
    for count, told in ((0xFFFF, "members"), (3, "table of contents")):  # truly too many for the field; and a lie
        end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(central), len(local), 0)
        (tmp_path / "a.zip").write_bytes(local + central + end)
        began = time.monotonic()
        with pytest.raises(BadStore, match=told):
            unpack(tmp_path / "a.zip", tmp_path / "out", allowance=SMALL)
        assert time.monotonic() - began < 1.0
    block = tarfile.TarInfo("a.png").tobuf()
    (tmp_path / "b.tar").write_bytes(block * 100_000 + bytes(1024))
    began = time.monotonic()
    with pytest.raises(BadStore, match="members"):
        unpack(tmp_path / "b.tar", tmp_path / "out", "*.jpg", allowance=Allowance(members=1000))
    assert time.monotonic() - began < 2.0


def test_a_tar_header_cannot_fill_the_memory(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 20 << 20
    (tmp_path / "a.tar").write_bytes(entry.tobuf() + bytes(20 << 20) + tarred({"a.png": b"x"}, "w"))
    with pytest.raises(BadStore, match="header of it claims"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_a_broken_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    data = bytearray(tarred({"a.png": b"x" * 600, "b.png": b"y" * 600}, "w"))
    data[1536 + 150] ^= 1  # the checksum of the second header
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(BadStore, match="broken"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("name", ["a.zip", "a.tgz", "a.tar"])
def test_archives_cut_anywhere_are_told(name: str, tmp_path: Path) -> None:
    files = {f"{i}.png": picture(i) for i in range(5)}
    whole = zipped(files) if name == "a.zip" else tarred(files, "w" if name == "a.tar" else "w:gz")
    path = tmp_path / name
    end = len(whole) - 10_240 if name == "a.tar" else len(whole)  # tar fills its last record with zeros
    for cut in (0, 1, 5, 600, end // 2, end - 600, end - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadStore, match=r"cut|broken|empty|no zip"):
            unpack(path, tmp_path / "out")
    path.write_bytes(whole)
    done = unpack(path, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == files and done.n == 5
    with pytest.raises(BadStore, match="there is no archive"):
        unpack(tmp_path / "none.zip", tmp_path / "out")


def test_flipped_bits_never_pass_unseen(tmp_path: Path) -> None:
    files = {f"{i}.png": picture(i, 16) for i in range(3)}
    rng = np.random.default_rng(5)
    for name, whole in (("a.zip", zipped(files)), ("a.tgz", tarred(files))):
        for trial in range(60):
            data = bytearray(whole)
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
            (tmp_path / name).write_bytes(data)
            out = tmp_path / f"{name}{trial}"
            try:
                unpack(tmp_path / name, out, "*.png")
            except TuningforkError:
                continue
            for path in out.iterdir():  # a changed time or name is no changed picture
                assert path.read_bytes() in files.values()


def test_unpacking_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"png/{i}.png": picture(i) for i in range(6)}
    (tmp_path / "a.tgz").write_bytes(tarred(files))
    calls: list[Path] = []

    def die(step: str, path: Path) -> None:
        if step == "begin":
            calls.append(path)
            if len(calls) == 4:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(disk, "step", die)
        with pytest.raises(KeyboardInterrupt):
            unpack(tmp_path / "a.tgz", tmp_path / "out", "*.png")
    (tmp_path / "out" / "0.png").write_bytes(b"damaged meanwhile")
    done = unpack(tmp_path / "a.tgz", tmp_path / "out", "*.png")
    assert (done.n, done.n_new) == (6, 4)
    assert unpack(tmp_path / "a.tgz", tmp_path / "out", "*.png").n_new == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {n[4:]: d for n, d in files.items()}


def test_classes_need_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"a.png": b"x"}))
    with pytest.raises(BadStore, match="class"):
        unpack(tmp_path / "a.zip", tmp_path / "out", keep_class=True)
