"""The page: cells as an astronomer quotes them, everything escaped, styles inside."""

import numpy as np

from tuningfork.evaluate.bootstrap import Estimate
from tuningfork.evaluate.report import Confusion, Page, Section, Table, Text, cell, render


def test_cells():
    assert str(cell(Estimate(0.931, 0.918, 0.944))) == '0.931 <span class="interval">[0.918, 0.944]</span>'
    assert str(cell(Estimate(float("nan")))) == '<span class="none">no galaxies</span>'
    assert str(cell(12345)) == "12,345"
    assert str(cell(0.5)) == "0.500"
    assert str(cell(-1e-9)) == "0.000"
    assert str(cell(float("nan"))) == '<span class="none">no galaxies</span>'
    assert str(cell(None)) == '<span class="none">–</span>'
    assert str(cell("<b>&")) == "&lt;b&gt;&amp;"


def test_a_confusion_shows_counts_and_rates_of_the_rows():
    table = Confusion(("a", "b"), np.array([[3.0, 1], [0, 0]]))
    assert [(count, rate) for count, rate, _ in table.cells[0]] == [(3, "0.75"), (1, "0.25")]
    assert [(count, rate) for count, rate, _ in table.cells[1]] == [(0, "–"), (0, "–")]
    assert table.given == [3, 1]


def test_the_page_escapes_everything_and_carries_its_style():
    evil = "<script>x</script>"
    section = Section("one", evil, (Text(evil), Table((evil, "n"), ((evil, 1),), evil), Text(evil, "h3")))
    page = render(Page(evil, evil, (evil,), (section,), evil, (evil,)))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10
    assert "--ink" in page
    assert page.startswith("<!DOCTYPE html>")


def test_wide_tables_fold_their_intervals_and_scroll_rather_than_be_cut():
    tables = [Table(tuple("abcdefgh"[:n]), (("row", *[Estimate(0.5, 0.4, 0.6)] * (n - 1)),)) for n in (3, 8)]
    page = render(Page("t", "s", (), (Section("one", "One", tuple(tables)),)))
    assert page.count('<div class="scroll"><table>') == 1
    assert page.count('<div class="scroll"><table class="wide">') == 1
    assert "table.wide .interval { display: block" in page
    assert ".scroll { overflow-x: auto" in page
