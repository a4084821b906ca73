"""The figure of verdicts shows every word, value and interval, and what was not tested."""

import pandas as pd
import pytest

from lengthgen.reporting.figures import drawing, verdict_figure

GROUP = {
    "dataset": "d",
    "model": "m",
    "train_length": 512,
    "steps": 1,
    "setting": "s",
    "evaluation": "e",
}


def answer(scheme: str, eval_length: int, word: str, value: float, **more) -> dict:
    numbers = {
        "failure": value,
        "failure_low": value - 0.01,
        "failure_high": value + 0.01,
        "use_hard_window": float("nan"),
    }
    return (
        GROUP
        | {
            "scheme": scheme,
            "eval_length": eval_length,
            "word": word,
            "n_seeds": 3,
            "n_documents": 48,
            "gate": "",
        }
        | numbers
        | more
    )


ROWS = [
    answer("t5_bias", 1024, "undecided", 0.015),
    answer("t5_bias", 2048, "fails", 0.1),
    answer("alibi", 1024, "tolerates", 0.0),
    answer("alibi", 2048, "uses", -0.05),
    answer("learned", 1024, "refused", float("nan")),
]


def texts(rows: list[dict]) -> list[str]:
    with drawing.fixed_style():
        figure = verdict_figure.draw(pd.DataFrame(rows), 1234)
        figure.canvas.draw()
    (axes,) = figure.axes
    shown = [*figure.texts, *axes.texts, *axes.get_yticklabels(), axes.xaxis.label]
    return [" ".join(text.get_text().split()) for text in shown]


def test_every_word_and_number_is_there():
    shown = texts(ROWS)
    assert {
        "t5_bias",
        "alibi",
        "learned",
        "refused",
        "fails +0.100 [+0.090, +0.110]",
        "uses −0.050 [−0.060, −0.040]",
    } <= set(shown)
    assert {"1,024 (2×)", "2,048 (4×)"} <= set(shown) and any(
        "nats/token" in text for text in shown
    )
    details = next(text for text in shown if text.startswith("F with"))
    assert (
        "3 seeds and 48 documents" in details
        and "1,234 target tokens" in details
        and "loss at 512 tokens" in details
    )
    assert "was not tested" in details and "hard window" not in details


@pytest.mark.parametrize(
    ("change", "said", "unsaid"),
    [
        ({"gate": "refused"}, "corpus gate refused", "was not tested"),
        ({"use_hard_window": 0.1}, "a hard window in every layer", "gate refused"),
    ],
)
def test_what_was_tried_is_said(change, said, unsaid):
    details = next(
        text for text in texts([row | change for row in ROWS]) if text.startswith("F with")
    )
    assert said in details and unsaid not in details
