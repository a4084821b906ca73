"""The words of a study: against what they are given, and how they are set out."""

import json

import pytest

from lengthgen import files
from lengthgen.studies import words_section, words_table
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material
from tests.study_cases import L, subject, with_bigram


def arm(
    tmp_path, name: str, scheme: str, *, at_l=1.0, far=1.0, shuffled=2.0, steps=10, window=None
):
    losses = {f"matched/{L}": at_l, f"matched/{2 * L}": far, f"shuffled/{L}": shuffled}
    if window is not None:
        losses[f"hard_window/{2 * L}"] = window
    made = subject(tmp_path, name, losses, noise=0.001)
    for one in made.evaluations:
        config = {"train_length": L, "seed": one.seed, "dataset": {"name": "text"}}
        config |= {"scheme": {"name": scheme}, "steps": steps, "batch_size": 4}
        files.write_text(one.folder.parent.parent / "config.yaml", json.dumps(config))
    return EvaluatedArm(name, [EvaluatedRun(one.folder) for one in made.evaluations])


def word(*arms: EvaluatedArm) -> str:
    rows = words_table.rows(Material({one.name: one for one in arms}))
    (found,) = [row for row in rows if row["subject"] == arms[0].name]
    assert found["eval_length"] == 2 * L
    return found["word"]


@pytest.mark.parametrize(
    ("far", "said"), [(1.1, "fails"), (1.0, "tolerates"), (0.9, "uses"), (1.006, "tolerates")]
)
def test_a_word_follows_the_change_from_the_training_length(tmp_path, far, said):
    assert word(arm(tmp_path, "a", "learned", far=far)) == said


def test_what_a_hard_window_does_as_well_is_no_use_of_the_longer_input(tmp_path):
    assert word(arm(tmp_path, "a", "learned", far=0.9, window=1.0)) == "uses"
    assert word(arm(tmp_path, "b", "learned", far=0.9, window=0.9)) == "tolerates"


def test_an_arm_that_does_not_beat_a_bigram_table_is_untrained(tmp_path):
    worse = with_bigram(arm(tmp_path, "a", "learned", far=1.5, shuffled=1.0), 0.5)
    assert word(worse) == "untrained"  # before everything else
    assert word(with_bigram(arm(tmp_path, "b", "learned", far=1.5), 2.5)) == "fails"


def test_positions_are_in_use_against_an_arm_without_any_before_the_shuffled_ones(tmp_path):
    mine = arm(tmp_path, "a", "learned", far=1.5, shuffled=1.0)
    assert word(mine) == "positions not in use"
    better, same = (arm(tmp_path, f"n{at}", "none", at_l=at) for at in (1.3, 1.01))
    assert word(mine, better) == "fails"
    assert word(mine, same) == "positions not in use"
    # Without positions nothing can be in use, and nothing is asked.
    assert word(arm(tmp_path, "n", "none", far=1.5, shuffled=1.0)) == "fails"


def test_an_arm_without_positions_is_one_that_was_trained_alike(tmp_path):
    mine = arm(tmp_path, "a", "learned", far=1.5, shuffled=1.0)
    assert word(mine, arm(tmp_path, "n", "none", at_l=1.3, steps=20)) == "positions not in use"
    # And under the same condition: that of step 5 with that of step 5.
    early = arm(tmp_path, "a+at_5", "learned", at_l=1.2, far=1.5, shuffled=1.0)
    late, same = arm(tmp_path, "none", "none", at_l=1.8), arm(tmp_path, "none+at_5", "none")
    assert word(early, late) == "positions not in use"
    assert word(early, late, same) == "positions not in use"
    assert word(mine, late, same) == "fails"


def test_words_by_training_tokens_have_a_column_for_each():
    about = {"train_length": L, "word": "fails", "change": 0.5}
    rows = [
        {**about, "subject": "rope+at_5", "eval_length": 2 * L, "tokens": 30_000},
        {**about, "subject": "rope", "eval_length": 4 * L, "tokens": 3_000_000},
        {**about, "subject": "rope", "eval_length": 2 * L, "tokens": 3_000_000, "word": "uses"},
    ]
    text = "\n".join(words_section.lines(rows, "tokens"))
    assert "| 30k tokens | 3M tokens |" in text
    assert "| rope, 2 L | fails (+0.500) | uses (+0.500) |\n| rope, 4 L |  | fails" in text
    by_length = "\n".join(words_section.lines(rows, "length"))
    assert f"| {2 * L} | {4 * L} |" in by_length and "| rope+at_5 | fails (+0.500) |" in by_length
    assert words_section.lines([], "tokens") == []
