"""Heads: what answers must be whatever the network says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tuningfork.errors import BadWeights
from tuningfork.galaxy.tree import Tree
from tuningfork.model.card import HEADS
from tuningfork.model.head import ClassesHead, FractionsHead, make_head

TREE = Tree.load("gz2")
OUTPUTS = arrays(np.float32, (2, TREE.n_answers), elements=st.floats(-1e4, 1e4, width=32)).map(torch.from_numpy)


def _heads():
    return {kind: make_head(kind, TREE.columns, TREE.slices) for kind in HEADS}


@given(z=OUTPUTS)
def test_answers_stay_in_their_ranges_for_any_output(z):
    for kind, head in _heads().items():
        answers = head.answers(z)
        low, high = (1, 101) if kind == "dirichlet" else (0, 1)
        assert head.kind == kind and answers.shape == (2, head.n_outputs) and answers.dtype == torch.float32
        assert (answers >= low).all() and (answers <= high).all()


@given(z=OUTPUTS)
def test_probabilities_sum_to_one_and_fractions_do_over_each_question(z):
    torch.testing.assert_close(make_head("classes", TREE.columns).answers(z).sum(1), torch.ones(2))
    fractions = _heads()["fractions"].answers(z)
    for span in TREE.slices.values():
        torch.testing.assert_close(fractions[:, span].sum(1), torch.ones(2))


@given(z=OUTPUTS)
def test_divisive_fractions_sum_to_one_where_any_output_is_positive_and_to_zero_elsewhere(z):
    fractions = FractionsHead(TREE.columns, TREE.slices, "divisive").answers(z)
    for span in TREE.slices.values():
        some = (z[:, span].clamp_min(0).sum(1) > 1e-6).float()
        none = (z[:, span] <= 0).all(1)
        torch.testing.assert_close(fractions[:, span].sum(1) * some, some, rtol=2e-6, atol=0)
        assert (fractions[none][:, span] == 0).all()


@given(z=OUTPUTS, temperature=st.floats(0.1, 10))
def test_temperature_changes_how_sure_and_never_which_class(z, temperature):
    sharp, cool = ClassesHead(TREE.columns), ClassesHead(TREE.columns, temperature)
    torch.testing.assert_close(cool.answers(z), sharp.answers(z / temperature))
    cooled = cool.answers(z)
    assert (cooled.gather(1, z.argmax(1, keepdim=True))[:, 0] == cooled.amax(1)).all()


def test_a_question_does_not_hear_another_questions_outputs():
    z = torch.randn(3, TREE.n_answers, generator=torch.Generator().manual_seed(0))
    first, *_ = TREE.slices.values()
    changed = z.clone()
    changed[:, first] += 3 * torch.arange(3.0)
    for kind in ("dirichlet", "fractions", "sigmoid"):
        before, after = (make_head(kind, TREE.columns, TREE.slices).answers(v) for v in (z, changed))
        torch.testing.assert_close(before[:, first.stop :], after[:, first.stop :], rtol=0, atol=0)
        assert not torch.allclose(before[:, first], after[:, first])


def test_bfloat16_outputs_give_float32_answers():
    for head in _heads().values():
        assert head.answers(torch.zeros(1, TREE.n_answers, dtype=torch.bfloat16)).dtype == torch.float32


def test_the_middle_of_the_dirichlet_range():
    assert _heads()["dirichlet"].answers(torch.zeros(1, TREE.n_answers)).unique().tolist() == [51.0]


@pytest.mark.parametrize(
    "slices", [None, {}, {"a": slice(0, 2)}, {"a": slice(1, 3)}, {"a": slice(0, 1), "b": slice(2, 3)}]
)
@pytest.mark.parametrize("kind", ["dirichlet", "fractions"])
def test_a_tree_head_without_questions_that_cover_its_answers_is_refused(kind, slices):
    with pytest.raises(BadWeights, match="whose questions cover its 3 answers"):
        make_head(kind, ("x", "y", "z"), slices)


def test_an_unknown_head_lists_those_there_are():
    with pytest.raises(BadWeights, match="no head is called 'softmax': there are classes"):
        make_head("softmax", ("x", "y"))
