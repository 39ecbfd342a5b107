"""Expected losses: imagined truths by hand, learnt curves that rise, nothing learnt from itself."""

import numpy as np
import pandas as pd
import pytest

from salt.errors import InputError
from salt.infer.review import (
    LEVELS,
    cross_fitted_loss,
    fit_expected_loss,
    level_set_loss,
    review_list,
)
from salt.metrics import tile_scores
from salt.seeding import generator

FULL, EMPTY = np.ones((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.uint8)


def flat(probability: float) -> np.ndarray:
    return np.full((1, 4, 4), probability, np.float16)


@pytest.mark.parametrize(
    ("probability", "decided", "loss"),
    [(1.0, FULL, 0), (0.0, EMPTY, 0), (1.0, EMPTY, 1), (0.5, FULL, 0.5), (0.25, EMPTY, 0.25)],
)
def test_a_flat_map_is_wrong_as_often_as_its_probability_says(probability, decided, loss):
    assert level_set_loss(flat(probability), decided).tolist() == [loss]


def test_truths_are_imagined_at_evenly_spaced_levels_of_the_map():
    draw = generator(1, "map")
    probability = draw.random((3, 9, 9)).astype(np.float16)
    decided = (probability >= 0.4).astype(np.uint8)
    scores = [
        tile_scores(decided, probability.astype(np.float64) >= (level + 0.5) / LEVELS)
        for level in range(LEVELS)
    ]
    assert level_set_loss(probability, decided) == pytest.approx(1 - np.mean(scores, axis=0))


def test_a_temperature_acts_on_the_probabilities():
    # odds of 9 to 1 become 3 to 1: the mask is expected to be wrong once in four times
    assert level_set_loss(flat(0.9), FULL, temperature=2.0) == pytest.approx(0.25, abs=1 / LEVELS)


def test_the_learnt_loss_rises_with_every_uncertainty_and_stays_within_bounds():
    draw = generator(2, "features")
    features = pd.DataFrame(draw.random((300, 2)), columns=["helps", "noise"])
    loss = (draw.random(300) < features["helps"] ** 2).to_numpy(float)
    model = fit_expected_loss(features, loss)
    rising = pd.DataFrame({"helps": np.linspace(-1, 2, 50), "noise": 0.5})
    for table in (rising, rising.rename(columns={"helps": "noise", "noise": "helps"})):
        predicted = model.predict(table)
        assert (np.diff(predicted) >= 0).all()
        assert predicted.min() >= 0
        assert predicted.max() <= 1
    assert model.weights["helps"] > model.weights["noise"] >= 0


def test_a_single_uncertainty_is_fitted_by_its_isotonic_regression():
    features = pd.DataFrame({"entropy": [1.0, 2.0, 2.0, 3.0, 4.0]})
    model = fit_expected_loss(features, np.array([0.0, 0.5, 0.7, 0.3, 0.9]))
    # 2, 2 and 3 violate the order (0.6 and 0.3) and share the mean of their three losses
    assert model.predict(features) == pytest.approx([0.0, 0.5, 0.5, 0.5, 0.9])
    assert model.predict(pd.DataFrame({"entropy": [0.0, 3.5, 9.0]})) == pytest.approx([0, 0.7, 0.9])


@pytest.mark.parametrize("loss", [0.0, 1.0])
def test_tiles_that_all_lose_the_same_are_expected_to(loss):
    features = pd.DataFrame({"a": [1.0, 2.0, 3.0], "constant": 0.0})
    model = fit_expected_loss(features, np.full(3, loss))
    assert model.predict(features) == pytest.approx(np.full(3, loss))


def test_one_tile_teaches_its_own_loss():
    features = pd.DataFrame({"a": [1.0]})
    assert fit_expected_loss(features, np.array([0.4])).predict(features) == pytest.approx([0.4])


def test_no_tile_is_judged_by_losses_of_its_own_fold():
    draw = generator(3, "folds")
    features = pd.DataFrame({"a": draw.random(60), "b": draw.random(60)})
    folds = np.arange(60) % 3
    loss = draw.random(60)
    expected = cross_fitted_loss(features, loss, folds)
    changed = cross_fitted_loss(features, np.where(folds == 1, 1 - loss, loss), folds)
    assert expected[folds == 1].tolist() == changed[folds == 1].tolist()
    assert expected[folds == 0].tolist() != changed[folds == 0].tolist()


@pytest.mark.parametrize(
    ("features", "loss"), [({"a": [1.0, np.nan]}, [0.1, 0.2]), ({"a": [1.0]}, [0.1, 0.2])]
)
def test_unknown_uncertainties_and_missing_losses_are_refused(features, loss):
    with pytest.raises(InputError, match="expected as many of each, at least one, and no NaN"):
        fit_expected_loss(pd.DataFrame(features), np.array(loss))


def test_one_fold_is_refused():
    with pytest.raises(InputError, match=r"folds \[4\]; expected at least two"):
        cross_fitted_loss(pd.DataFrame({"a": [1.0, 2.0]}), np.zeros(2), np.array([4, 4]))


def test_the_review_list_starts_with_the_highest_expected_loss():
    tiles = pd.DataFrame({"id": ["a", "b", "c"], "expected_loss": [0.2, 0.9, 0.2]})
    listed = review_list(tiles)
    assert listed.to_dict("list") == {
        "rank": [1, 2, 3],
        "id": ["b", "a", "c"],
        "expected_loss": [0.9, 0.2, 0.2],
    }
