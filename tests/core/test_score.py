from math import isnan, nan

import pytest

from quantum_control.core.score import PredictionScore


def scored(predictions: list[float], demands: list[float], size: float = 10.0) -> PredictionScore:
    score = PredictionScore()
    for predicted, demand in zip(predictions, demands, strict=True):
        score.observe(demand, size)
        score.predict(predicted, demand)
    return score


def test_there_is_no_error_before_a_prediction_met_its_demand() -> None:
    assert isnan(scored([5.0], [4.0]).error)
    assert isnan(scored([5.0], [4.0]).skill)


def test_perfect_foresight_has_a_skill_of_one() -> None:
    assert scored([5.0, 7.0, 2.0], [3.0, 5.0, 7.0]).skill == 1.0


def test_as_it_is_now_has_no_skill() -> None:
    assert scored([3.0, 5.0, 7.0], [3.0, 5.0, 7.0]).skill == 0.0


def test_worse_than_as_it_is_now_is_negative() -> None:
    assert scored([0.0, 0.0, 0.0], [3.0, 5.0, 7.0]).skill < 0.0


def test_errors_are_relative_to_the_size() -> None:
    assert scored([5.0, nan], [4.0, 6.0], size=10.0).error == pytest.approx(0.1)


def test_where_demand_never_moves_there_is_nothing_to_have_skill_in() -> None:
    assert isnan(scored([4.0, 4.0], [4.0, 4.0]).skill)


def test_no_prediction_is_not_held_against_the_law() -> None:
    score = scored([5.0, nan, 7.0], [4.0, 5.0, 99.0])
    assert score.error == 0.0


def test_a_prediction_is_used_once() -> None:
    score = scored([5.0], [4.0])
    score.observe(5.0, 10.0)
    score.observe(100.0, 10.0)
    assert score.error == 0.0
