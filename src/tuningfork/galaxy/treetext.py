"""A tree drawn in text: every question in full once, everywhere else only by name, with an arrow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from .question import Answer, Question


def draw_text(questions: Sequence[Question]) -> str:
    """The questions as a drawing of lines, for a terminal that knows Unicode.

    What follows an answer stands under it, one step further in. What follows every answer of a question alike stands
    under an arrow at the question's own level, and some answers that share their next question hang on one bracket. A
    question that many answers lead to is drawn where the fewest questions come before it; elsewhere it is
    ``▶ name (above)`` or ``(below)``. An answer with nothing under it ends the classification.
    """
    known = {question.name: question for question in questions}
    home: dict[str, str] = {questions[0].name: ""}
    for name in (queue := [questions[0].name]):  # breadth first: the list grows while it is walked
        for answer in known[name].answers:
            if answer.next and answer.next not in home:
                home[answer.next] = name
                queue.append(answer.next)
    lines: list[str] = []
    _draw(questions[0], "", "", (known, home), set(), lines)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _draw(
    question: Question,
    first: str,
    margin: str,
    tree: tuple[dict[str, Question], dict[str, str]],
    drawn: set[str],
    lines: list[str],
) -> None:
    """``question`` and what follows it; ``first`` stands before its name, ``margin`` before every further line."""
    drawn.add(question.name)
    lines.append(f"{first}{question.name}   {question.text}")
    width = max((len(answer.name) for answer in question.answers), default=0)
    runs = [(name, list(group)) for name, group in groupby(question.answers, key=lambda answer: answer.next)]

    def follow(name: str, arrow: str, rest: str) -> None:
        if name in drawn or tree[1][name] != question.name:
            lines.append(f"{margin}{arrow}╰▶ {name} ({'above' if name in drawn else 'below'})")
        elif len(runs) == 1:
            lines.append(f"{margin}▼")
            _draw(tree[0][name], margin, margin, tree, drawn, lines)
        else:
            _draw(tree[0][name], f"{margin}{arrow}╰▶ ", margin + rest, tree, drawn, lines)

    if len(runs) == 1 and runs[0][0]:
        lines += [f"{margin}├─ {_label(answer, width)}" for answer in question.answers]
        follow(runs[0][0], "", "")
        return
    for number, (name, answers) in enumerate(runs):
        last = number == len(runs) - 1
        side = " " if last else "│"
        if not name:
            marks = ["├─"] * (len(answers) - 1) + ["╰─" if last else "├─"]
            lines += [f"{margin}{mark} {_label(answer, width)}" for mark, answer in zip(marks, answers, strict=True)]
        elif len(answers) == 1:
            lines.append(f"{margin}{'╰─' if last else '├─'} {_label(answers[0], width)}")
            follow(name, f"{side}  ", f"{side}     ")
        else:
            lines.append(f"{margin}{'╰┬' if last else '├┬'} {_label(answers[0], width)}")
            lines += [f"{margin}{side}├ {_label(answer, width)}" for answer in answers[1:]]
            follow(name, side, f"{side}   ")


def _label(answer: Answer, width: int) -> str:
    return f"{answer.name:<{width}}   {answer.text}"


def draw_attributes(questions: Sequence[Question]) -> str:
    """The attributes as a table: name, scale, what stands for undefined, and what is measured."""
    width = max(len(question.name) for question in questions)
    lines = []
    for one in questions:
        missing = "" if one.undefined is None else f", {one.undefined:g} = undefined"
        lines.append(f"{one.name:<{width}}   {f'{one.low:g} .. {one.high:g}{missing}':<26} {one.text}".rstrip())
    return "\n".join(lines) + "\n"
