"""Smooth random functions of (inline, sample, crossline), and the grid they are evaluated on.

Everything irregular in the synthetic earth (folds, fault surfaces, salt flanks, facies) is
made of these. They are evaluated with element-wise arithmetic only: no BLAS, whose sums may
depend on the number of threads, so equal seeds give equal bytes.
"""

from dataclasses import dataclass

import numpy as np

FLAT = float("inf")  # spacing along an axis on which a field does not vary


@dataclass(frozen=True)
class Grid:
    """Positions in pixels, each axis shaped to broadcast; (0, 0, 0) is the window's corner.

    Attributes:
        inline: float32 [I, 1, 1].
        sample: float32 [1, Z, 1], downwards.
        crossline: float32 [1, 1, X].
    """

    inline: np.ndarray
    sample: np.ndarray
    crossline: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return [I, Z, X]."""
        return self.inline.size, self.sample.size, self.crossline.size

    def thinned(self, step: int) -> "Grid":
        """Return every `step`-th sample and crossline, for cheap looks."""
        half = step // 2
        return Grid(self.inline, self.sample[:, half::step], self.crossline[:, :, half::step])


def window(
    inlines: int, samples: int, crosslines: int, *, inline_spacing: float, margin: int
) -> Grid:
    """Return the grid of a window with `margin` extra pixels above, below, left and right."""
    return Grid(
        inline=np.arange(inlines, dtype=np.float32)[:, None, None] * np.float32(inline_spacing),
        sample=np.arange(-margin, samples + margin, dtype=np.float32)[None, :, None],
        crossline=np.arange(-margin, crosslines + margin, dtype=np.float32)[None, None, :],
    )


@dataclass(frozen=True)
class Field:
    """A stationary random function of zero mean and unit variance, twice differentiable.

    Cubic B-splines on independent normal control points; the basis is normalised to unit
    sum of squares at every position, so the variance is the same on and between nodes.
    """

    control: np.ndarray  # [A, B, C]
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]

    def __call__(self, grid: Grid) -> np.ndarray:
        """Evaluate on a grid; float32 [I, Z, X], with length 1 along `FLAT` axes."""
        values = self.control
        for axis, positions in enumerate((grid.inline, grid.sample, grid.crossline)):
            if self.spacing[axis] != FLAT:
                steps = (positions.ravel() - self.origin[axis]) / self.spacing[axis]
                values = _spline(values, steps, axis)
        return values


def draw_field(
    rng: np.random.Generator, extent: Grid, spacing: tuple[float, float, float]
) -> Field:
    """Draw a field over `extent` that varies over about `spacing` pixels along each axis."""
    axes = (extent.inline, extent.sample, extent.crossline)
    origin = tuple(float(axis.min()) for axis in axes)
    nodes = tuple(
        1 if step == FLAT else int(np.ptp(axis) / step) + 4
        for axis, step in zip(axes, spacing, strict=True)
    )
    control = rng.standard_normal(nodes, dtype=np.float32)
    return Field(control, (origin[0], origin[1], origin[2]), spacing)


def _spline(control: np.ndarray, steps: np.ndarray, axis: int) -> np.ndarray:
    node = np.clip(np.floor(steps).astype(np.int64), 0, control.shape[axis] - 4)
    t = steps - node
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    weights /= np.sqrt((weights**2).sum(axis=0))
    along = [1, 1, 1]
    along[axis] = -1
    weights = weights.astype(np.float32)
    return np.sum(
        [np.take(control, node + tap, axis=axis) * weights[tap].reshape(along) for tap in range(4)],
        axis=0,
    )
