"""The command evaluate: what a flag does not tell is as the card in the votes says."""

import json
import sys

import numpy as np
import pytest

from tuningfork import cli
from tuningfork.galaxy.votes import VotesWriter

CARD = {"labels": {"kind": "column", "column": "type", "merge": {"spiral": ["cw", "acw"]}, "drop": ["star"]}}


@pytest.fixture
def judge(tmp_path, monkeypatch, capfd):
    kinds = ["cw", "acw", "E", "E", "odd", "star"] * 8
    ids = [f"g{i}" for i in range(len(kinds))]
    names = ("E", "odd", "spiral")
    p = np.random.default_rng(0).dirichlet(np.ones(3), len(kinds)).astype(np.float32)
    with VotesWriter(tmp_path / "v.parquet", "classes", names, None, {"card": CARD, "part": "test"}) as writer:
        writer.write(ids, None, None, p)
    rows = [f"{name},{kind}" for name, kind in zip(ids, kinds, strict=True)]
    (tmp_path / "truth.csv").write_text("\n".join(["what,type", *rows]))

    def call(*words, out="r.html"):
        start = ["tuningfork", "evaluate", tmp_path / "v.parquet", "--truth", tmp_path / "truth.csv", "--json"]
        monkeypatch.setattr(sys, "argv", [*map(str, [*start, "--out", tmp_path / out, *words])])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capfd.readouterr()
        return (json.loads(told.out), "") if not stop.value.code else (None, told.err)

    return call


def test_a_flag_leaves_the_other_choices_of_the_card(judge):
    done, error = judge("--truth-id", "what", "--drop", "odd,star")
    assert error == ""
    assert done["n_judged"] == 32  # neither odd nor star
    classes = {name: row["galaxies"] for name, row in done["numbers"]["classes"].items()}
    assert (classes["E"], classes["spiral"]) == (16, 16)  # merged as the card says


def test_none_takes_a_choice_of_the_card_away(judge):
    done, error = judge("--truth-id", "what", "--drop", "none")
    assert done is None
    assert "star" in error


def test_an_id_column_that_is_not_guessed_and_a_folder_as_report(judge, tmp_path):
    assert "what" in judge()[1]
    assert "is a folder" in judge("--truth-id", "what", out="")[1]
