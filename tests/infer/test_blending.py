"""Averages and fitted weights, against hand values and a search over a fine grid."""

import tracemalloc

import numpy as np
import pytest

from salt.errors import StoreError
from salt.infer.blending import Products, average_maps, brier_products, fit_weights


def maps(*values: float) -> list[np.ndarray]:
    """Return one map float16 [1, 1, 1] of each value."""
    return [np.full((1, 1, 1), value, np.float16) for value in values]


def test_probabilities_are_averaged_by_weight() -> None:
    mean = average_maps(maps(0.5, 1.0), [3, 1], "probability")
    assert mean.dtype == np.float32
    assert mean.item() == pytest.approx(0.625)


def test_logits_are_averaged_by_weight() -> None:
    mean = average_maps(maps(0.5, 0.9), [1, 1], "logit").item()
    assert mean == pytest.approx(0.75, abs=1e-3)  # odds 1 and 9: the middle is 3


def test_certain_members_have_finite_logits() -> None:
    assert average_maps(maps(0, 1), [1, 1], "logit").item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("average", ["probability", "logit"])
def test_a_single_member_is_returned_as_it_is(average: str) -> None:
    member = np.random.default_rng(0).random((3, 4, 4)).astype(np.float16)
    assert (average_maps([member * 0, member], [0, 1], average) == member).all()


def test_weights_and_members_must_match() -> None:
    for members in (maps(0.1), maps(0.1, 0.2, 0.3)):
        with pytest.raises(StoreError, match="2 weights for another number of members"):
            average_maps(members, [1, 1], "probability")
    with pytest.raises(StoreError, match="expected one above 0"):
        average_maps(maps(0.1), [0], "probability")
    with pytest.raises(StoreError, match="none below"):
        average_maps(maps(0.1, 0.2), [1, -1], "probability")
    with pytest.raises(StoreError, match=r"shape \(1, 2, 1\) beside \(1, 1, 1\)"):
        average_maps([*maps(0.1), np.zeros((1, 2, 1))], [1, 1], "probability")


def peak_memory(members: int) -> int:
    stream = (np.full((50, 101, 101), 0.5, np.float16) for _ in range(members))
    tracemalloc.start()
    average_maps(stream, [1.0] * members, "logit")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_members() -> None:
    assert peak_memory(20) < 1.05 * peak_memory(2)


def drawn(members: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return members that know the truth to different degrees, the truth, and nothing ignored."""
    draw = np.random.default_rng(seed)
    truths = (draw.random((40, 6, 6)) < 0.4).astype(np.uint8)
    noise = [draw.normal(0, 0.2 + 0.2 * k, truths.shape) for k in range(members)]
    return [(truths + n).clip(0, 1).astype(np.float16) for n in noise], truths, truths * 0


def brier(members: list[np.ndarray], weights: np.ndarray, truths: np.ndarray) -> float:
    mean = sum(w * m.astype(np.float64) for w, m in zip(weights, members, strict=True))
    return float(np.mean((mean - truths) ** 2))


def test_fitted_weights_are_the_best_of_a_fine_grid() -> None:
    members, truths, ignore = drawn(3)
    weights = fit_weights(brier_products(members, truths, ignore))
    steps = np.arange(0, 1.0001, 0.02)
    grid = [np.array([a, b, 1 - a - b]) for a in steps for b in steps if a + b <= 1]
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= 0
    best = min(brier(members, candidate, truths) for candidate in grid)
    assert best - 1e-5 < brier(members, weights, truths) <= best


def test_two_members_get_the_weights_by_hand() -> None:
    # truth 1, 0; members say 1, 0.5 and 0.5, 0: errors 0, 0.5 and -0.5, 0, so each gets half
    members = [np.array([[[1, 0.5]]]), np.array([[[0.5, 0]]])]
    truths = np.array([[[1, 0]]])
    assert fit_weights(brier_products(members, truths, truths * 0)) == pytest.approx([0.5, 0.5])


def test_a_member_that_only_harms_gets_no_weight_and_copies_share_it() -> None:
    members, truths, ignore = drawn(1)
    weights = fit_weights(brier_products([members[0], 1 - members[0]], truths, ignore))
    assert weights == pytest.approx([1, 0], abs=1e-6)
    weights = fit_weights(brier_products([members[0], members[0]], truths, ignore))
    assert weights == pytest.approx([0.5, 0.5])


def test_maps_without_salt_leave_the_weights_equal() -> None:
    black = np.zeros((2, 3, 3))
    assert fit_weights(brier_products([black, black], black, black)).tolist() == [0.5, 0.5]


def test_ignored_pixels_do_not_count() -> None:
    members, truths, ignore = drawn(2)
    ignore[:, :3] = 1
    whole = brier_products(members, truths, ignore)
    part = brier_products([m[:, 3:] for m in members], truths[:, 3:], ignore[:, 3:])
    np.testing.assert_allclose(whole.gram, part.gram)
    np.testing.assert_allclose(whole.target, part.target)


def test_products_of_tiles_add_up() -> None:
    members, truths, ignore = drawn(2)
    parts = [
        brier_products([m[rows] for m in members], truths[rows], ignore[rows])
        for rows in (slice(0, 9), slice(9, None))
    ]
    whole = brier_products(members, truths, ignore)
    np.testing.assert_allclose(parts[0].plus(parts[1]).gram, whole.gram)
    rest: Products = whole.plus(parts[0], -1)
    np.testing.assert_allclose(rest.target, parts[1].target)
