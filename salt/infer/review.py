"""The review list: tiles in the order of the score they are expected to lose.

Uncertainty in nats says which pixels are unsure; an interpreter with an hour asks which
tiles are worth it. Two estimates of a tile's loss (1 - score) answer that:

- `level_set_loss` follows from the probability map and the decision alone;
- `fit_expected_loss` learns from labelled tiles how much score each uncertainty has cost.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression, nnls
from scipy.special import expit, logit

from salt.errors import InputError
from salt.infer.evidence import gather_evidence
from salt.infer.rule import Grid
from salt.metrics import FULL_TENTHS

LEVELS = 32  # truths imagined per tile; the expected loss is then exact to about 0.03


def level_set_loss(
    probability: np.ndarray, decided: np.ndarray, temperature: float = 1.0
) -> np.ndarray:
    """Return the loss each decision should expect if the probabilities are right, float64 [n].

    The truth is imagined as {p >= u}, u uniform in (0, 1): each pixel is then salt with
    its probability p, and neighbours are salt together, as bodies are. (Pixels drawn each
    on their own would make every large mask look sure.) The mean of 1 - score over `LEVELS`
    values of u; where no pixel reaches u the tile is imagined without salt.

    Args:
        probability: float16 [n, H, W].
        decided: masks {0, 1} [n, H, W].
        temperature: of the probabilities' calibration.

    Raises:
        StoreError: probabilities are not float16 in [0, 1], or the shapes differ.
    """
    uniform = (np.arange(LEVELS) + 0.5) / LEVELS
    levels = expit(temperature * logit(uniform))  # where the calibrated map crosses `uniform`
    grid = Grid(levels, np.array([0]), np.array([0.0]))
    unknown = np.full(len(probability), np.nan)
    evidence = gather_evidence(probability, unknown, decided, None, grid)
    tenths = evidence.tenths[0, 0]  # [n, T], whatever the size of components and holes
    return 1 - tenths.mean(axis=1) / FULL_TENTHS


@dataclass(frozen=True)
class ExpectedLoss:
    """An estimate of the loss that rises with every uncertainty.

    Attributes:
        curves: for each uncertainty its values, ascending, and the loss at them; linear
            between, constant beyond.
        weights: at least 0, of each curve in the sum.
    """

    curves: dict[str, tuple[np.ndarray, np.ndarray]]
    weights: dict[str, float]

    def predict(self, uncertainties: pd.DataFrame) -> np.ndarray:
        """Return the expected loss of each row, float64 [n] in [0, 1]."""
        parts = [
            self.weights[name] * np.interp(uncertainties[name], *curve)
            for name, curve in self.curves.items()
        ]
        return np.clip(np.sum(parts, axis=0), 0, 1)


def fit_expected_loss(uncertainties: pd.DataFrame, loss: np.ndarray) -> ExpectedLoss:
    """Fit losses [n] by a sum of rising curves, one per uncertainty (column).

    Each curve is the isotonic regression of the loss alone (Barlow et al. 1972); their
    weights are the non-negative least squares fit of the loss, which drops a curve that
    adds nothing.

    Raises:
        InputError: no tiles, different lengths, or a NaN.
    """
    loss = np.asarray(loss, np.float64)
    if len(loss) != len(uncertainties) or not len(loss) or uncertainties.isna().any(axis=None):
        raise InputError(
            f"{len(uncertainties)} rows of uncertainties and {len(loss)} losses; expected as "
            "many of each, at least one, and no NaN. Leave out what is not known."
        )
    names = list(map(str, uncertainties))
    curves = {name: _rising_curve(uncertainties[name].to_numpy(), loss) for name in names}
    fitted = [np.interp(uncertainties[name], *curve) for name, curve in curves.items()]
    weights, _ = nnls(np.stack(fitted, axis=1), loss)
    return ExpectedLoss(curves, dict(zip(curves, weights.tolist(), strict=True)))


def cross_fitted_loss(
    uncertainties: pd.DataFrame, loss: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """Return the expected loss of each tile from a fit on the other folds, float64 [n].

    Raises:
        InputError: there are fewer than two folds [n], or a NaN.
    """
    names = np.unique(folds)
    if len(names) < 2:
        raise InputError(
            f"tiles of folds {names.tolist()}; expected at least two, because each fold's loss "
            "is estimated from the others. Pass the tiles of every fold."
        )
    expected = np.empty(len(loss))
    for name in names:
        own = folds == name
        expected[own] = fit_expected_loss(uncertainties[~own], loss[~own]).predict(
            uncertainties[own]
        )
    return expected


def review_list(tiles: pd.DataFrame) -> pd.DataFrame:
    """Return tiles by falling `expected_loss`, with their `rank` 1, 2 ... as first column.

    Equal tiles keep their order. The other columns of `tiles` (id, split, uncertainties,
    loss where it is known) stay as they are.
    """
    ordered = tiles.sort_values("expected_loss", ascending=False, kind="stable", ignore_index=True)
    ordered.insert(0, "rank", np.arange(1, len(ordered) + 1))
    return ordered


def _rising_curve(uncertainty: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, group, count = np.unique(uncertainty, return_inverse=True, return_counts=True)
    means = np.bincount(group, loss) / count
    return values, isotonic_regression(means, weights=count).x
