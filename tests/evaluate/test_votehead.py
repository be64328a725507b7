"""What the summary of votes says in words: no praise below a constant, and cautions where galaxies are few."""

from tuningfork.evaluate.bootstrap import Estimate
from tuningfork.evaluate.votehead import few_galaxies, vote_summary


def numbers(rmse=0.2, constant=0.3, **explained):
    rows = {
        name: {"galaxies": n, "accuracy": Estimate(0.6), "accuracy_baseline": 0.5, "explained": Estimate(value)}
        for name, (value, n) in explained.items()
    }
    return {"rmse": Estimate(rmse), "rmse_constant": Estimate(constant), "convention": "columns", "questions": rows}


def test_negative_values_are_not_called_explained():
    line = vote_summary(numbers(first=(-0.5, 60), bar=(-0.1, 60)), 60)[2]
    assert "none of the variance is explained (worse than a constant) for first (-0.500), bar (-0.100)" in line
    assert "most" not in line
    mixed = vote_summary(numbers(first=(0.4, 60), bar=(0.1, 60), arms=(-0.2, 60)), 60)[2]
    assert "most is explained for first (0.400), least for bar (0.100); none" in mixed
    assert "for arms (-0.200)" in mixed


def test_worse_than_the_column_means():
    assert "; worse than the column means alone give 0.300" not in vote_summary(numbers(first=(0.1, 60)), 60)[0]
    assert "which is worse than the column means, 0.300" in vote_summary(numbers(0.4, first=(0.1, 60)), 60)[0]


def test_questions_of_few_galaxies():
    few = numbers(first=(0.4, 29), bar=(0.1, 30))
    assert few_galaxies(few) == (
        "Questions judged on fewer than 30 galaxies, whose numbers rest on little: first (29).",
    )
    assert "29 galaxies, which are few" in vote_summary(few, 29)[1]
    assert few_galaxies(numbers(first=(0.4, 30))) == ()
    assert "No question reached 30" in vote_summary(numbers(first=(0.4, 29)), 29)[2]
