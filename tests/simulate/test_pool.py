"""Work in processes comes back in order."""

from tuningfork.simulate.pool import in_order


def test_order() -> None:
    chunks = list(range(-9, 9))
    assert list(in_order(abs, chunks, 1, False)) == list(map(abs, chunks))
    assert list(in_order(abs, chunks, None, True)) == list(map(abs, chunks))
    assert list(in_order(abs, chunks, 2, False)) == list(map(abs, chunks))
    assert list(in_order(abs, [], None, True)) == []
