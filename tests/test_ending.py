"""When a training ends: by a number of steps, or where a doubling of them gains too little."""

import pytest

from lengthgen.training.ending import Ending


def run(ending, loss_after, done=0):
    """Train as runs/fit.py does: to each stop, looking where it is due. Returns the steps done."""
    while done < ending.last:
        stop = ending.next_stop(done)
        for step in range(done + 1, stop + 1):
            if ending.due(step):
                ending.look(step, loss_after(step))
        done = stop
    return done


def power_law(step):
    return 1 + 8 / step


def test_without_the_rule_every_step_is_done_and_the_last_doubling_is_known():
    ending = Ending(100)
    assert run(ending, power_law) == 100
    about = ending.about()
    assert about["settled"] is None and about["steps"] == 100
    assert about["last_doubling"] == pytest.approx(8 / 50 - 8 / 100)


def test_checks_are_halves_of_the_last_step_before_the_rate_falls():
    assert Ending(1000, settle=0.01, decay=0.2, warm=50).checks == [50, 100, 200, 400, 800]


def test_nothing_settles_by_a_doubling_that_began_in_the_warm_up():
    def slow_start(step):
        return 2.7 if step < 100 else 1.0

    assert run(Ending(1000, settle=0.01, decay=0.2, warm=50), slow_start) == 250
    assert run(Ending(1000, settle=0.01, decay=0.2, warm=10), slow_start) == 31


def test_it_ends_where_a_doubling_gained_less_than_asked():
    # From 200 to 400 the loss falls by 0.02, from 400 to 800 by 0.01.
    ending = Ending(4000, settle=0.015, decay=0.2)
    assert ending.checks[-3:] == [800, 1600, 3200]
    assert run(ending, power_law) == 1000
    assert ending.about() == {
        "steps": 1000, "settled": True, "last_doubling": pytest.approx(0.01)
    }  # fmt: skip


def test_a_training_that_still_learns_ends_at_its_ceiling_and_says_so():
    ending = Ending(100, settle=0.001, decay=0.2)
    assert run(ending, power_law) == 100
    assert ending.about()["settled"] is False and ending.about()["last_doubling"] > 0.001


def test_a_plateau_at_the_start_is_no_end():
    def late(step):
        return 2.77 if step < 500 else 1 + 300 / step

    assert run(Ending(2000, settle=0.01, decay=0.2), late) < 200  # without a ceiling it is taken
    with_ceiling = Ending(2000, settle=0.01, decay=0.2, ceiling=2.7)
    assert run(with_ceiling, late) == 2000


def test_a_resumed_training_ends_at_the_same_step():
    whole = Ending(4000, settle=0.015, decay=0.2)
    run(whole, power_law)
    for stopped in (150, 800, 801, 950):
        first, second = (Ending(4000, settle=0.015, decay=0.2) for _ in range(2))
        for step in range(1, stopped + 1):
            if first.due(step):
                first.look(step, power_law(step))
        second.load_state_dict(first.state_dict())
        assert run(second, power_law, stopped) == whole.last
        assert second.about() == whole.about()
