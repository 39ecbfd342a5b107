"""Salt bodies as level functions: positive inside, negative outside, in pixels from the flank.

Shapes follow the families interpreters meet: stems that rise, lean and overhang (diapirs),
swells of a mother layer (pillows), and allochthonous sheets on a feeder (canopies). Their
outlines are roughened with smooth random fields of falling size. Cf. Hudec & Jackson, "Terra
infirma: understanding salt tectonics", Earth-Science Reviews 82 (2007).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from salt.synthesis.fields import Field, Grid, draw_field

UNIT = 101.0  # pixels; typical body sizes are fractions of it


@dataclass(frozen=True)
class Diapir:
    """A stem with a rounded crest; a neck narrower than the crest makes an overhang."""

    crossline: float
    inline: float
    crest: float  # sample of the highest point
    half_width: float
    roundness: float  # pixels from the crest down to the full width
    neck: float  # half-width of the stem over that below the crest
    lean: float  # crosslines per sample
    pedestal: float  # widening towards the mother layer, pixels per pixel
    reach: float  # half-length along inline
    drag: float = 1.0

    def level(self, grid: Grid) -> np.ndarray:
        below = grid.sample - self.crest
        offset = grid.crossline - self.crossline - self.lean * below
        blunt = 0.4 * self.half_width  # keeps the dragged layers round above the crest
        distance = np.sqrt(offset**2 + blunt**2) - blunt
        return self._half_width(below, grid.inline) - distance

    def _half_width(self, below: np.ndarray, inline: np.ndarray) -> np.ndarray:
        rise = np.clip(below / self.roundness, 0, 1)
        cap = np.sqrt(rise * (2 - rise))
        sunk = np.clip(below - self.roundness, 0, None)
        stem = self.neck + (1 - self.neck) * np.exp(-((sunk / (1.5 * self.roundness)) ** 2))
        along = 1 - ((inline - self.inline) / self.reach) ** 2
        foot = self.pedestal * np.clip(sunk - 3 * self.roundness, 0, None)
        return self.half_width * cap * stem * along + foot + np.minimum(below, 0)


@dataclass(frozen=True)
class Pillow:
    """A swell of the mother salt layer, between an arched top and a flatter base."""

    crossline: float
    inline: float
    crest: float
    height: float  # relief of the top over its flanks
    half_width: float
    thickness: float  # at the crest
    tilt: float  # samples per crossline
    reach: float
    drag: float = 0.35

    def level(self, grid: Grid) -> np.ndarray:
        across = (grid.crossline - self.crossline) / self.half_width
        along = (grid.inline - self.inline) / self.reach
        swell = np.exp(-(across**2) - along**2)
        slope = self.tilt * (grid.crossline - self.crossline)
        top = self.crest + self.height * (1 - swell) + slope
        base = self.crest + self.thickness + 0.3 * slope
        return np.minimum(grid.sample - top, base - grid.sample)


@dataclass(frozen=True)
class Sheet:
    """Allochthonous salt that pinches out at its tips."""

    crossline: float
    inline: float
    depth: float
    half_thickness: float
    half_length: float
    tilt: float
    sag: float  # curvature: samples by which the tips lie above (negative: below) the middle
    reach: float
    drag: float = 0.25

    def level(self, grid: Grid) -> np.ndarray:
        across = (grid.crossline - self.crossline) / self.half_length
        along = (grid.inline - self.inline) / self.reach
        middle = self.depth + self.tilt * across * self.half_length - self.sag * across**2
        thickness = self.half_thickness * (1 - across**2 - along**2)
        return np.maximum(thickness, -40) - np.abs(grid.sample - middle)


Body = Diapir | Pillow | Sheet
Surface = Callable[[Grid], np.ndarray]  # the sample of a horizon, [I, 1, X]


@dataclass(frozen=True)
class SaltScene:
    """All the salt of one model.

    Attributes:
        bodies: the shapes, of which the union is salt.
        roughness: (pixels, field) pairs from long to short wavelength.
        drag: samples by which layers are pulled up at the flank of a diapir.
        drag_reach: pixels over which that decays.
        ceiling: shallowest sample of salt at each position (it stays below the seabed).
    """

    bodies: tuple[Body, ...]
    roughness: tuple[tuple[float, Field], ...]
    drag: float = 0.0
    drag_reach: float = 1.0
    ceiling: Surface | None = None

    def level(self, grid: Grid) -> np.ndarray:
        """Return the level function, float32 [I, Z, X]; salt is where it is positive."""
        if not self.bodies:
            return np.full(grid.shape, -1e3, dtype=np.float32)
        level = self.bodies[0].level(grid)
        for body in self.bodies[1:]:
            level = np.maximum(level, body.level(grid))
        if self.ceiling is not None:
            level = np.minimum(level, grid.sample - self.ceiling(grid))
        for amplitude, field in self.roughness:
            level = level + np.float32(amplitude) * field(grid)
        return level.astype(np.float32)

    def uplift(self, grid: Grid) -> np.ndarray:
        """Return by how many samples rising salt has dragged the layers up, [I, Z, X].

        Largest at the flank, decaying outwards into a shallow rim syncline where salt was
        withdrawn.
        """
        total = np.zeros(grid.shape, dtype=np.float32)
        for body in self.bodies:
            distance = np.clip(-body.level(grid), 0, None) / self.drag_reach
            lift = 1.4 * np.exp(-distance) - 0.4 * np.exp(-distance / 3)
            total += (self.drag * body.drag * lift).astype(np.float32)
        return total


def draw_scene(
    rng: np.random.Generator,
    extent: Grid,
    *,
    bodies: int,
    size: float,
    ceiling: Surface | None = None,
) -> SaltScene:
    """Draw `bodies` random salt bodies of relative `size` in and around a window.

    Sheets come with a feeder as often as not, which counts as part of the body.
    """
    drawn: list[Body] = []
    for _ in range(bodies):
        kind = rng.choice(3, p=[0.5, 0.25, 0.25])
        draw = (_draw_diapir, _draw_pillow, _draw_sheet)[kind]
        drawn.extend(draw(rng, extent, size * UNIT))
    rough = float(np.exp(rng.normal(0, 0.4))) * min(size, 1.5)
    scales = [(7.0, 50.0), (3.5, 19.0), (1.6, 7.0)]
    roughness = tuple(
        (amplitude * rough, draw_field(rng, extent, (spacing, spacing, spacing)))
        for amplitude, spacing in scales
    )
    drag_reach = rng.uniform(18, 50)
    drag = drag_reach * rng.uniform(0.5, 1.3)
    return SaltScene(tuple(drawn), roughness, drag, drag_reach, ceiling)


def _draw_diapir(rng: np.random.Generator, extent: Grid, unit: float) -> list[Body]:
    half_width = unit * rng.uniform(0.15, 0.6)
    return [
        Diapir(
            crossline=_anywhere(rng, extent.crossline),
            inline=rng.uniform(-20, 40),
            crest=_anywhere(rng, extent.sample, upwards=0.5 * unit),
            half_width=half_width,
            roundness=half_width * rng.uniform(0.4, 1.1),
            neck=rng.uniform(0.45, 1.1),
            lean=rng.normal(0, 0.18),
            pedestal=rng.uniform(0, 0.5),
            reach=rng.uniform(90, 250),
        )
    ]


def _draw_pillow(rng: np.random.Generator, extent: Grid, unit: float) -> list[Body]:
    height = unit * rng.uniform(0.3, 1.0)
    return [
        Pillow(
            crossline=_anywhere(rng, extent.crossline),
            inline=rng.uniform(-20, 40),
            crest=_anywhere(rng, extent.sample),
            height=height,
            half_width=unit * rng.uniform(0.5, 1.3),
            thickness=height * rng.uniform(0.7, 1.3),
            tilt=rng.normal(0, 0.15),
            reach=rng.uniform(90, 250),
        )
    ]


def _draw_sheet(rng: np.random.Generator, extent: Grid, unit: float) -> list[Body]:
    sheet = Sheet(
        crossline=_anywhere(rng, extent.crossline),
        inline=rng.uniform(-20, 40),
        depth=_anywhere(rng, extent.sample),
        half_thickness=unit * rng.uniform(0.2, 0.4),
        half_length=unit * rng.uniform(0.6, 1.6),
        tilt=rng.normal(0, 0.15),
        sag=unit * rng.normal(0, 0.2),
        reach=rng.uniform(120, 300),
    )
    feeder = Diapir(
        crossline=sheet.crossline + rng.normal(0, 0.3) * sheet.half_length,
        inline=sheet.inline,
        crest=sheet.depth,
        half_width=unit * rng.uniform(0.06, 0.2),
        roundness=0.1 * unit,
        neck=1.0,
        lean=rng.normal(0, 0.25),
        pedestal=0.3,
        reach=sheet.reach,
        drag=0.6,
    )
    return [sheet, feeder] if rng.random() < 0.5 else [sheet]


def _anywhere(rng: np.random.Generator, positions: np.ndarray, upwards: float = 0.0) -> float:
    return float(rng.uniform(positions.min() - upwards, positions.max()))
