"""Score how well one tile's edge continues another's, whatever gain each tile was given.

An edge is its outermost `DEPTH` pixel lines (amplitude, gradient and curvature across the
seam), standardised to zero mean and unit variance of the outermost line. How two such
strips continue each other is learnt from the images themselves: every line inside a tile
is a seam between two strips that do belong together. Canonical correlation analysis of
those inner seams gives coordinates in which joined strips agree as far as the data's own
noise allows. With canonical coordinates u, v and correlations r the misfit of a pair is

    d(u, v) = sum_k (u_k^2 + v_k^2 - 2 r_k u_k v_k) / (1 - r_k^2) + D * FLOOR

the Mahalanobis compatibility of Gallagher ("Jigsaw puzzles with pieces of unknown
orientation", CVPR 2012) with the full covariance instead of the gradient's. The score
is -log d, with d relative to what is expected of these two edges: the geometric mean of
their own energies and of the misfits at inner seams beside them, because a rough tile may
fit less well than a smooth one. A true seam so scores about TRUE_SCORE on any data.
"""

from dataclasses import dataclass, replace

import numpy as np

from salt.errors import InputError

DEPTH = 3  # pixel lines per strip
DIRECTIONS_SHARE = 2 / 3  # canonical directions kept, as a share of the edge's length
LEAST_CORRELATION = 0.3  # weaker directions tell tiles apart, not seams
FLOOR = 0.2  # misfit per direction added for noise, so that smooth edges are not overrated
LEAST_DEVIATION = 2.0  # grey levels; a flatter edge carries nothing to match
INNER_SEAMS = 40_000  # inner seams the model is learnt from
LINES_BESIDE = 3  # inner seams beside an edge that tell its expected misfit
TRUE_SCORE = -0.5  # median score of the seams of TGS that close a 2x2 loop, both axes
SMALLEST_SIDE = 2 * DEPTH  # a tile must hold one inner seam


@dataclass(frozen=True)
class Edges:
    """All edges of one axis, factorised so that pairs are scored by a dot product.

    Attributes:
        trailing: float32 [n, D + 2], of right (or bottom) edges.
        leading: float32 [n, D + 2], of left (or top) edges; `-trailing @ leading.T` is
            the relative misfit of every pair (first tile, second tile).
        trailing_matches: bool [n]; False where that edge is too flat to match anything.
        leading_matches: bool [n]; likewise.
    """

    trailing: np.ndarray
    leading: np.ndarray
    trailing_matches: np.ndarray
    leading_matches: np.ndarray

    def scores(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the score of each pair, float64 [p]; NaN where an edge is flat."""
        misfit = -np.einsum("pd,pd->p", self.trailing[first], self.leading[second])
        matches = self.trailing_matches[first] & self.leading_matches[second]
        return np.where(matches, to_score(misfit), np.nan)

    def reversed_polarity(self) -> "Edges":
        """Return decoys: leading edges black for white, alike in kind but continuing nothing."""
        decoys = self.leading.copy()
        decoys[:, :-2] *= -1
        return replace(self, leading=decoys)


def to_score(misfit: np.ndarray) -> np.ndarray:
    """Return the score of a relative misfit: its negative logarithm."""
    return -np.log(np.maximum(misfit.astype(np.float64), 1e-6))


def measure_edges(images: np.ndarray, rng: np.random.Generator) -> Edges:
    """Measure right and left edges of images uint8 [n, H, W]; transpose them for bottom and top.

    `rng` picks the inner seams that the continuation is learnt from.

    Raises:
        InputError: the images are not [n, H, W], none, or too small to hold an inner seam.
    """
    if images.ndim != 3 or len(images) == 0 or min(images.shape[1:]) < SMALLEST_SIDE:
        raise InputError(
            f"got images of shape {list(images.shape)}; expected grey tiles [n, H, W] with "
            f"n > 0 and sides of at least {SMALLEST_SIDE} pixels. Pass whole tiles."
        )
    model = _learn(images, rng)
    behind = DEPTH - 1 + DEPTH * np.arange(LINES_BESIDE)
    behind = behind[behind < images.shape[2] - DEPTH]
    right, right_matches = _strips(images, images.shape[2] - 1, inwards=-1)
    left, left_matches = _strips(images, 0, inwards=+1)
    right_expected = _inner_misfit(model, images, images.shape[2] - 2 - behind)
    left_expected = _inner_misfit(model, images, behind)
    trailing, leading = _factorise(
        model, right @ model.trailing, left @ model.leading, right_expected, left_expected
    )
    trailing[~right_matches] = 0
    leading[~left_matches] = 0
    return Edges(trailing, leading, right_matches, left_matches)


@dataclass(frozen=True)
class _SeamModel:
    """Canonical coordinates: u = strip before the seam @ trailing, v = strip behind @ leading."""

    trailing: np.ndarray  # [DEPTH * H, D]
    leading: np.ndarray  # [DEPTH * H, D]
    correlation: np.ndarray  # [D]

    @property
    def precision(self) -> np.ndarray:
        return 1 / (1 - self.correlation**2)

    def misfit(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        joint = (u**2 + v**2) @ self.precision - 2 * (u * v) @ (self.precision * self.correlation)
        return joint + FLOOR * len(self.correlation)


def _strips(images: np.ndarray, line: int, inwards: int) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised strips float32 [n, DEPTH * H] from `line` inwards, and which match."""
    lines = line + inwards * np.arange(DEPTH)
    strips = images[:, :, lines].astype(np.float32)  # [n, H, DEPTH], outermost line first
    deviation = strips[:, :, 0].std(axis=1)
    matches = deviation > LEAST_DEVIATION
    strips -= strips[:, :, 0].mean(axis=1)[:, None, None]
    strips /= np.maximum(deviation, LEAST_DEVIATION)[:, None, None]
    strips[~matches] = 0
    return strips.reshape(len(strips), -1), matches


def _learn(images: np.ndarray, rng: np.random.Generator) -> _SeamModel:
    """Fit the canonical correlations of strips that meet inside the tiles."""
    count, height, width = images.shape
    lines = np.arange(DEPTH - 1, width - DEPTH)
    wanted = min(len(lines), max(4, -(-INNER_SEAMS // count)))
    lines = lines[np.linspace(0, len(lines) - 1, wanted).round().astype(int)]
    per_line = min(count, INNER_SEAMS // len(lines))
    moments = np.zeros((2 * DEPTH * height, 2 * DEPTH * height))
    seams = 0
    for line in lines:
        tiles = images[np.sort(rng.choice(count, per_line, replace=False))]
        before, before_matches = _strips(tiles, line, inwards=-1)
        behind, behind_matches = _strips(tiles, line + 1, inwards=+1)
        joined = np.concatenate([before, behind], axis=1)[before_matches & behind_matches]
        moments += joined.T @ joined
        seams += len(joined)
    return _canonical_correlations(moments / max(seams, 1), seams, height)


def _canonical_correlations(covariance: np.ndarray, seams: int, height: int) -> _SeamModel:
    """Split a covariance [2 d, 2 d] of joined strips into its canonical directions.

    Few seams leave the covariance singular; it is shrunk towards the identity accordingly.
    """
    size = len(covariance) // 2
    covariance = covariance + min(0.5, 1e-3 + 0.1 * size / max(seams, 1)) * np.eye(2 * size)
    before = _inverse_root(covariance[:size, :size])
    behind = _inverse_root(covariance[size:, size:])
    left, correlation, right = np.linalg.svd(before @ covariance[:size, size:] @ behind)
    wanted = np.arange(size) < max(1, round(DIRECTIONS_SHARE * height))
    kept = wanted & ((correlation > LEAST_CORRELATION) | (np.arange(size) == 0))
    return _SeamModel(
        trailing=(before @ left)[:, kept].astype(np.float32),
        leading=(behind @ right.T)[:, kept].astype(np.float32),
        correlation=correlation[kept].astype(np.float32),
    )


def _inverse_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values)) @ vectors.T


def _inner_misfit(model: _SeamModel, images: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Return each tile's geometric mean misfit at its seams behind `lines`, [n]."""
    total = np.zeros(len(images))
    for line in lines:
        before, _ = _strips(images, line, inwards=-1)
        behind, _ = _strips(images, line + 1, inwards=+1)
        total += np.log(model.misfit(before @ model.trailing, behind @ model.leading))
    return np.exp(total / len(lines))


def _factorise(
    model: _SeamModel,
    u: np.ndarray,
    v: np.ndarray,
    trailing_expected: np.ndarray,
    leading_expected: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return [n, D + 2] factors whose dot product is minus the misfit relative to the expected."""
    ones = np.ones((len(u), 1))
    own_u = u**2 @ model.precision + FLOOR * len(model.correlation)
    own_v = v**2 @ model.precision
    trailing = np.hstack([2 * u * (model.precision * model.correlation), -own_u[:, None], -ones])
    leading = np.hstack([v, ones, own_v[:, None]])
    trailing_scale = _scale((u**2).sum(axis=1), trailing_expected)
    leading_scale = _scale((v**2).sum(axis=1), leading_expected)
    return (
        (trailing * trailing_scale).astype(np.float32),
        (leading * leading_scale).astype(np.float32),
    )


def _scale(energy: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the share of one edge in 1 / expected misfit of a pair, [n, 1]."""
    return (np.maximum(energy * expected, 1e-6) ** -0.25)[:, None]
