"""A 3-D block of layered rock: dip, folds, faults, an unconformity, and salt that drags them.

The block is described backwards. Each present position is mapped to the depth at which its
grains were laid down (undo the drag, undo the faults, undo the folds), and that depth is
looked up in a random stratigraphic column. Layers therefore keep their identity through
every deformation, as real reflectors do.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label
from scipy.special import expit

from salt.synthesis.bodies import SaltScene
from salt.synthesis.fields import FLAT, Field, Grid, draw_field

COLUMN_STEP = 0.5  # pixels between samples of a stratigraphic column
WATER = -0.55  # log impedance relative to the shallowest sediment
NO_SEABED = -1e3  # samples
SMALLEST_BODY = 150  # pixels per inline


@dataclass(frozen=True)
class Column:
    """Log impedance against depositional depth; the facies field mixes two columns laterally."""

    start: float
    main: np.ndarray
    variant: np.ndarray

    def __call__(self, depth: np.ndarray, facies: np.ndarray) -> np.ndarray:
        position = np.clip((depth - self.start) / COLUMN_STEP, 0, len(self.main) - 2)
        node = position.astype(np.int32)
        share = position - node
        return _between(self.main, node, share) + facies * _between(self.variant, node, share)


@dataclass(frozen=True)
class Fault:
    """A normal fault: the hanging wall has slid down a dipping, gently curved surface."""

    crossline: float  # where it crosses `centre`
    centre: float  # sample of the largest throw
    hade: float  # crosslines per sample; its sign is the side of the hanging wall
    strike: float  # crosslines per inline pixel
    throw: float  # pixels
    length: float  # pixels over which the throw dies out up and down
    bend: Field

    def displacement(self, grid: Grid) -> np.ndarray:
        """Return by how many samples each position has moved down, [I, Z, X]."""
        below = grid.sample - self.centre
        trace = self.crossline + self.hade * below + self.strike * grid.inline
        side = (grid.crossline - trace - 5 * self.bend(grid)) * np.sign(self.hade)
        throw = self.throw * np.exp(-((below / self.length) ** 2))
        rollover = 1 + np.clip(side, 0, None) / 150
        return throw * np.clip(side + 0.5, 0, 1) / rollover


@dataclass(frozen=True)
class Structure:
    """What deforms and fills a block, before salt.

    Attributes:
        dip: samples per crossline, and per inline.
        folds: (pixels, field) pairs added to the dip, from long to short wavelength.
        faults: oldest first.
        old, young: columns below and above the unconformity.
        unconformity: (mean sample, relief, field).
        old_dip: extra dip of the older layers, which the unconformity cuts.
        facies: lateral change of the reflectors' strength.
        chaos: (centre, half-thickness, pixels, field) of a slumped interval.
        seabed: (mean sample, field), or None where the window lies below it.
        compaction: rise of the layers' log impedance per pixel of depth.
        salt: log impedance of salt, which is not compacted but stays above the layers'.
    """

    dip: tuple[float, float]
    folds: tuple[tuple[float, Field], ...]
    faults: tuple[Fault, ...]
    old: Column
    young: Column
    unconformity: tuple[float, float, Field]
    old_dip: float
    facies: Field
    chaos: tuple[float, float, float, Field]
    seabed: tuple[float, Field] | None
    compaction: float
    salt: float

    def seabed_sample(self, grid: Grid) -> np.ndarray:
        """Return the sample of the seabed, [I, 1, X]; far above the window if there is none."""
        if self.seabed is None:
            return np.full((1, 1, 1), NO_SEABED, dtype=np.float32)
        sample, field = self.seabed
        return sample + 6 * field(grid) + 0.3 * self.dip[0] * grid.crossline

    def salt_ceiling(self, grid: Grid) -> np.ndarray:
        """Return the shallowest sample that salt may reach, [I, 1, X]."""
        return self.seabed_sample(grid) + 10

    def log_impedance(self, grid: Grid, uplift: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the layers' log impedance on a grid, without salt or water, [I, Z, X]."""
        depth = grid.sample + uplift
        for fault in self.faults:
            depth = depth - fault.displacement(grid)
        depth = depth - self.dip[0] * grid.crossline - self.dip[1] * grid.inline
        for amplitude, field in self.folds:
            depth = depth - np.float32(amplitude) * field(grid)
        facies = self.facies(grid)
        young = self.young(depth + self._slump(grid, depth), facies)
        sample, relief, field = self.unconformity
        boundary = sample + relief * field(grid)
        old = self.old(depth - self.old_dip * grid.crossline, facies)
        return young + (old - young) * expit(depth - boundary) + self.compaction * grid.sample

    def _slump(self, grid: Grid, depth: np.ndarray) -> np.ndarray:
        centre, half_thickness, amplitude, field = self.chaos
        inside = expit((half_thickness - np.abs(depth - centre)) / 2)
        return np.float32(amplitude) * inside * field(grid)


@dataclass(frozen=True)
class Model:
    """The earth on a grid: log acoustic impedance and salt, [I, Z, X].

    Attributes:
        log_impedance: float32.
        salt: bool; the truth.
        water: bool.
    """

    log_impedance: np.ndarray
    salt: np.ndarray
    water: np.ndarray


def draw_structure(
    rng: np.random.Generator, extent: Grid, *, wavelength: float, seabed_chance: float
) -> Structure:
    """Draw the layers of a block; `wavelength` (pixels) sets the thickness of its beds."""
    _, samples, crosslines = extent.shape
    smooth = wavelength / 22  # broad wavelengths are zoomed-in geology
    folds = (
        (rng.uniform(3, 18) * smooth, draw_field(rng, extent, (200, 260, 100 * smooth))),
        (rng.uniform(0.4, 1.8) * smooth, draw_field(rng, extent, (50, 60, 26 * smooth))),
        (rng.uniform(0.1, 0.7) * smooth, draw_field(rng, extent, (15, 20, 8 * smooth))),
    )
    compaction = rng.uniform(0.0004, 0.0012)
    faults = tuple(_draw_fault(rng, extent) for _ in range(rng.poisson(crosslines / 220)))
    column_span = (-400.0 - crosslines, 400.0 + samples + crosslines)
    return Structure(
        dip=(rng.normal(0, 0.24), rng.normal(0, 0.08)),
        folds=folds,
        faults=faults,
        old=draw_column(rng, *column_span, bed=0.28 * wavelength),
        young=draw_column(rng, *column_span, bed=0.28 * wavelength),
        unconformity=(
            rng.uniform(0.2, 1.6) * samples,
            rng.uniform(0, 8),
            draw_field(rng, extent, (120, FLAT, 60)),
        ),
        old_dip=rng.normal(0, 0.2),
        facies=draw_field(rng, extent, (40, 25 * smooth, 30 * smooth)),
        chaos=(
            rng.uniform(-1, 2) * samples,
            rng.uniform(8, 30),
            rng.uniform(3, 9),
            draw_field(rng, extent, (15, 9, 12)),
        ),
        seabed=_draw_seabed(rng, extent) if rng.random() < seabed_chance else None,
        compaction=compaction,
        salt=rng.uniform(0.35, 0.6) + compaction * samples,
    )


def draw_column(rng: np.random.Generator, start: float, stop: float, *, bed: float) -> Column:
    """Draw a stratigraphic column with beds of about `bed` pixels.

    Reflection strengths are heavy-tailed (a few strong markers among many weak ones) and
    vary from package to package; log impedance reverts to its mean, as a random walk of
    reflection coefficients would not.
    """
    length = int((stop - start) / COLUMN_STEP)
    thickness = bed * np.exp(rng.normal(0, 0.6, size=2 * int((stop - start) / bed)))
    tops = np.cumsum(thickness) / COLUMN_STEP
    strength = _package_strength(rng, len(tops))
    steps = 0.045 * rng.standard_t(6, size=(2, len(tops))) * strength
    bed_of_sample = np.searchsorted(tops, np.arange(length)).clip(max=len(tops) - 1)
    main, variant = (_mean_reverting(step)[bed_of_sample].astype(np.float32) for step in steps)
    return Column(start, main, 0.6 * variant)


def build_model(structure: Structure, scene: SaltScene, grid: Grid) -> Model:
    """Put the salt into the layers: drag them up near its flanks, then replace them.

    Boundaries are blended over a pixel, so that slanting ones do not alias into steps.
    """
    log_impedance = structure.log_impedance(grid, scene.uplift(grid))
    level = _without_specks(scene.level(grid))
    inside = expit(1.5 * level)
    log_impedance = log_impedance + (structure.salt - log_impedance) * inside
    above_seabed = structure.seabed_sample(grid) - grid.sample
    log_impedance = log_impedance + (WATER - log_impedance) * expit(1.5 * above_seabed)
    water = np.broadcast_to(above_seabed > 0, grid.shape)
    return Model(log_impedance.astype(np.float32), (level > 0) & ~water, water)


def _without_specks(level: np.ndarray) -> np.ndarray:
    """Push crumbs that roughness broke off a body, too small to interpret, below zero."""
    pieces, _ = label(level > 0)
    crumb = np.bincount(pieces.ravel()) < SMALLEST_BODY * len(level)
    crumb[0] = False
    return np.where(crumb[pieces], np.float32(-1), level)


def _between(values: np.ndarray, node: np.ndarray, share: np.ndarray) -> np.ndarray:
    lower = values.take(node)
    return lower + (values.take(node + 1) - lower) * share


def _draw_fault(rng: np.random.Generator, extent: Grid) -> Fault:
    return Fault(
        crossline=float(rng.uniform(extent.crossline.min(), extent.crossline.max())),
        centre=float(rng.uniform(extent.sample.min(), extent.sample.max())),
        hade=float(rng.choice([-1, 1]) * rng.uniform(0.2, 0.8)),
        strike=float(rng.normal(0, 0.4)),
        throw=float(rng.uniform(4, 20)),
        length=float(rng.uniform(80, 300)),
        bend=draw_field(rng, extent, (60, 70, FLAT)),
    )


def _draw_seabed(rng: np.random.Generator, extent: Grid) -> tuple[float, Field]:
    return float(rng.uniform(8, 70)), draw_field(rng, extent, (80, FLAT, 60))


def _package_strength(rng: np.random.Generator, beds: int) -> np.ndarray:
    package_ends = np.cumsum(rng.integers(4, 16, size=beds))
    package = np.searchsorted(package_ends, np.arange(beds), side="right")
    return np.exp(rng.normal(0, 0.3, size=beds))[package]


def _mean_reverting(steps: np.ndarray, memory: float = 0.35) -> np.ndarray:
    values = np.empty_like(steps)
    value = 0.0
    for index, step in enumerate(steps):
        value = memory * value + step
        values[index] = value
    return values
