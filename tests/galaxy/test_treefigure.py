"""A drawn tree: every question and answer is on it, nothing overlaps or leaves the page, and every way arrives."""

from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.text import Text

from tuningfork.errors import TreeError
from tuningfork.galaxy.question import Answer, Question
from tuningfork.galaxy.tree import TREES, Tree
from tuningfork.galaxy.treefigure import GAP, draw, save
from tuningfork.galaxy.treelayout import lay_out


@cache
def drawn(name: str) -> Figure:
    """A built-in tree's figure, with a canvas that can measure text."""
    figure = draw(Tree.load(name))
    FigureCanvasAgg(figure)
    return figure


@pytest.mark.parametrize("name", TREES)
def test_nothing_is_missing_clipped_or_overlapping(name: str) -> None:
    tree, figure = Tree.load(name), drawn(name)
    (axes,) = figure.axes
    texts = [text for text in axes.findobj(Text) if text.get_text()]
    shown = " ".join(text.get_text().replace("\n", " ") for text in texts)
    for question in tree.questions:
        assert question.name in shown and question.text in shown
        assert all((answer.text or answer.name) in shown for answer in question.answers)
    page = figure.bbox
    boxes = [text.get_window_extent() for text in texts]
    for box in boxes:
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
    for one, other in combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))


@pytest.mark.parametrize("name", ["gz2", "hubble", "candels"])
def test_text_stays_in_its_box_and_boxes_apart(name: str) -> None:
    (axes,) = drawn(name).axes
    frames = [patch.get_window_extent() for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    assert len(frames) == len(Tree.load(name).questions)
    assert not any(one.overlaps(other) for one, other in combinations(frames, 2))
    for text in axes.findobj(Text):
        if text.get_text() and text.get_zorder() == 6:  # the words of the boxes
            box = text.get_window_extent()
            assert any(f.x0 <= box.x0 and box.x1 <= f.x1 and f.y0 <= box.y0 and box.y1 <= f.y1 for f in frames)


@pytest.mark.parametrize("name", ["gz2", "hubble", "candels", "decals_dr5"])
def test_every_question_but_the_first_gets_an_arrow(name: str) -> None:
    (axes,) = drawn(name).axes
    ways = [patch.get_gid() for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    first, *others = Tree.load(name).questions
    assert {way for way in ways if "passing" not in way} == {f"to {question.name}" for question in others}
    assert f"to {first.name}" not in ways


@pytest.mark.parametrize("name", ["gz2", "hubble", "candels", "decals_dr12"])
def test_layers_go_down_and_lanes_lead_to_their_question(name: str) -> None:
    tree = Tree.load(name)
    widths = {question.name: 1.0 for question in tree.questions}
    layers = lay_out(tree.questions, tree.order, widths, GAP)
    boxes = {place.question: place for layer in layers for place in layer if not place.lane}
    assert set(boxes) == {question.name for question in tree.questions}
    for question in tree.questions:
        for answer in question.answers:
            if answer.next:
                assert boxes[answer.next].layer > boxes[question.name].layer
                (here,) = [one for one, _ in boxes[question.name].below if one.question == answer.next]
                while here.lane:
                    ((here, _),) = here.below
                assert here is boxes[answer.next]
    for layer in layers:
        for one, other in pairwise(layer):
            assert other.x - one.x >= (one.width + other.width) / 2 + GAP - 1e-6


def test_gz2_is_drawn_without_crossings() -> None:
    tree = Tree.load("gz2")
    layers = lay_out(tree.questions, tree.order, {question.name: 1.0 for question in tree.questions}, GAP)
    for layer in layers:
        ways = [(place.x + port * 1e-3, below.x) for place in layer for below, port in place.below]
        assert not any((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(ways, 2))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_saved_whole_in_the_format_of_the_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tree{suffix}"
    save(Tree.load("gz1"), path, dpi=50)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_question_with_one_nameless_answer_can_be_drawn() -> None:
    questions = (Question("q", "", (Answer("a", "", "r"),)), Question("r", "", (Answer("b"), Answer("c"))))
    draw(Tree("tiny", questions=questions)).canvas.draw()


@pytest.mark.parametrize("name", ["t.bmp", "noext", "t.png.part", ".svg"])
def test_a_suffix_that_is_no_figure_is_refused_before_drawing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuningfork.galaxy.treefigure.draw", lambda tree: pytest.fail("drawn in vain"))
    with pytest.raises(TreeError, match=rf"'.*{name}'.*\.png, \.pdf or \.svg"):
        save(Tree.load("gz1"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["t.png", "t.PDF", "t.svg"])
def test_the_suffixes_that_the_refusal_names_do_work(name: str, tmp_path: Path) -> None:
    save(Tree.load("gz1"), tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name] and (tmp_path / name).stat().st_size > 1000
