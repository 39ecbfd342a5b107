"""Risk-coverage curves checked by hand and against every order of ties."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from salt.errors import InputError
from salt.infer.risk import area_gain, area_under_risk, compare_orders, risk_coverage
from salt.seeding import generator

LOSS = np.array([0.5, 0.0, 1.0, 0.1])


def test_risk_is_the_mean_loss_of_the_surest_tiles():
    risk = risk_coverage(np.array([1.0, 0.0, 0.5]), np.array([30, 10, 20]))
    assert risk.tolist() == [0.0, 0.25, 0.5]
    assert area_under_risk(np.array([1.0, 0.0, 0.5]), np.array([30, 10, 20])) == 0.25


def test_equally_uncertain_tiles_count_as_the_mean_over_all_their_orders():
    uncertainty = np.array([1, 0, 1, 1])
    plain = [LOSS[[1, *order]].cumsum() / np.arange(1, 5) for order in permutations([0, 2, 3])]
    assert risk_coverage(LOSS, uncertainty) == pytest.approx(np.mean(plain, axis=0))


def test_an_uncertainty_that_knows_nothing_leaves_the_mean_loss():
    assert risk_coverage(LOSS, np.zeros(4)) == pytest.approx(np.full(4, 0.4))


def test_random_orders_have_the_mean_loss_as_their_mean_area():
    areas = [area_under_risk(LOSS, np.array(order)) for order in permutations(range(4))]
    table = compare_orders(LOSS, pd.DataFrame({"any": [1, 2, 3, 4]})).set_index("order")
    assert np.mean(areas) == pytest.approx(table.loc["random", "area"])
    assert min(areas) == pytest.approx(table.loc["oracle", "area"])


def test_orders_are_compared_by_their_excess_over_the_oracle():
    orders = pd.DataFrame({"poor": -LOSS, "perfect": LOSS * 10})
    table = compare_orders(LOSS, orders)
    assert table["order"].tolist() == ["perfect", "oracle", "random", "poor"]
    assert table["excess"].tolist()[:2] == [0, 0]
    assert (table["excess"][2:] > 0).all()


def test_one_tile_has_its_loss_at_full_coverage():
    assert risk_coverage(np.array([0.3]), np.array([7.0])).tolist() == [0.3]


def test_a_better_order_has_a_gain_whose_interval_lies_above_zero():
    draw = generator(1, "losses")
    loss = draw.random(400)
    good, poor = (loss + draw.normal(scale=noise, size=400) for noise in (0.1, 2.0))
    gain = area_gain(loss, good, poor, 300, generator(2, "gain"))
    assert gain.mean == area_under_risk(loss, poor) - area_under_risk(loss, good)
    assert 0 < gain.low < gain.mean < gain.high
    back = area_gain(loss, poor, good, 300, generator(2, "gain"))
    assert back.mean == -gain.mean


def test_an_order_has_no_gain_over_itself_in_other_units():
    gain = area_gain(LOSS, np.arange(4), 10.0 * np.arange(4), 50, generator(1, "gain"))
    assert gain == (0, 0, 0)


@pytest.mark.parametrize(
    ("loss", "uncertainty", "problem"),
    [([0.1, 0.2], [1.0], r"\(2,\) and .* \(1,\)"), ([0.1], [np.nan], "NaN"), ([], [], r"\(0,\)")],
)
def test_tiles_without_a_known_loss_or_uncertainty_are_refused(loss, uncertainty, problem):
    with pytest.raises(InputError, match=problem):
        risk_coverage(np.array(loss), np.array(uncertainty))
