"""One independent block of synthetic earth and its seismic image, steered to a salt content."""

from dataclasses import asdict, dataclass

import numpy as np

from salt.seeding import generator
from salt.store import TILE_SIZE
from salt.synthesis.bodies import SaltScene, draw_scene
from salt.synthesis.fields import Grid, window
from salt.synthesis.geology import Structure, build_model, draw_structure
from salt.synthesis.seismic import Acquisition, draw_acquisition, image

MARGIN = 32  # pixels computed around the window, to keep filter edges out of it
INLINE_SPACING = 5.0  # pixels between neighbouring inlines
TRIALS = 30  # salt scenes tried for one that suits
SLIVER = 0.02  # of a tile; less salt than this cannot be recognised
THINNING = 4  # pixels between the points at which a trial is looked at


@dataclass(frozen=True)
class Block:
    """Sections of neighbouring inlines through one model.

    Attributes:
        images: uint8 [I, Z, X].
        masks: uint8 [I, Z, X] in {0, 1}; the modelled truth.
        parameters: what was drawn, for provenance.
    """

    images: np.ndarray
    masks: np.ndarray
    parameters: dict[str, float | int | str]


def draw_block(
    seed: int,
    *,
    inlines: int,
    rows: int,
    columns: int,
    empty_tiles: int,
    tolerance: int = 0,
    seabed_chance: float = 0.0,
    variety: float = 1.0,
) -> Block:
    """Draw a block of `rows` x `columns` tiles on each of `inlines` sections.

    Salt is drawn until about `empty_tiles` of the block's tiles hold none and hardly any
    is all salt; the best of a fixed number of trials is taken if none is within `tolerance`.
    Equal arguments give equal bytes.
    """
    grid = window(
        inlines,
        rows * TILE_SIZE,
        columns * TILE_SIZE,
        inline_spacing=INLINE_SPACING,
        margin=MARGIN,
    )
    earth = generator(seed, "earth")
    wavelength = float(np.clip(np.exp(earth.normal(np.log(19), 0.4 * variety)), 9, 42))
    size = float(np.sqrt(wavelength / 19) * np.exp(earth.normal(0, 0.25)))
    structure = draw_structure(earth, grid, wavelength=wavelength, seabed_chance=seabed_chance)
    scene = _suitable_scene(generator(seed, "salt"), grid, structure, size, empty_tiles, tolerance)
    model = build_model(structure, scene, grid)
    acquisition = draw_acquisition(earth, wavelength=wavelength, variety=variety)
    sections = image(generator(seed, "noise"), model, grid, acquisition)
    inner = (slice(None), slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return Block(
        images=sections[inner].copy(),
        masks=model.salt[inner].astype(np.uint8),
        parameters=_summarise(structure, scene, acquisition),
    )


def cut(sections: np.ndarray) -> np.ndarray:
    """Cut [I, R*101, C*101] into adjacent tiles [I, R, C, 101, 101]."""
    inlines, samples, crosslines = sections.shape
    rows, columns = samples // TILE_SIZE, crosslines // TILE_SIZE
    return sections.reshape(inlines, rows, TILE_SIZE, columns, TILE_SIZE).swapaxes(2, 3)


def _suitable_scene(
    rng: np.random.Generator,
    grid: Grid,
    structure: Structure,
    size: float,
    empty_tiles: int,
    tolerance: int,
) -> SaltScene:
    best = SaltScene((), ())
    least = _misfit(best, grid, empty_tiles)
    for trial in range(TRIALS):
        if least <= tolerance:
            break
        bodies = int(rng.integers(1, 4)) + trial // 12
        scene = draw_scene(rng, grid, bodies=bodies, size=size, ceiling=structure.salt_ceiling)
        misfit = _misfit(scene, grid, empty_tiles)
        if misfit < least:
            best, least = scene, misfit
    return best


def _misfit(scene: SaltScene, grid: Grid, empty_tiles: int) -> float:
    """Count the tiles by which a scene misses its target, and those no interpreter could label.

    Tiles of nothing but salt count double, tiles with a mere sliver of it half.
    """
    inner = Grid(grid.inline, grid.sample[:, MARGIN:-MARGIN], grid.crossline[:, :, MARGIN:-MARGIN])
    salt = scene.level(inner) > 0
    tiles = cut(salt)[..., ::THINNING, ::THINNING].mean(axis=(-2, -1))
    slivers = ((tiles > 0) & (tiles < SLIVER)).sum()
    full = (tiles > 0.98).sum()
    return float(abs((tiles == 0).sum() - empty_tiles) + 2 * full + 0.5 * slivers)


def _summarise(
    structure: Structure, scene: SaltScene, acquisition: Acquisition
) -> dict[str, float | int | str]:
    return {
        "bodies": "+".join(type(body).__name__.lower() for body in scene.bodies) or "none",
        "drag": scene.drag,
        "drag_reach": scene.drag_reach,
        "dip": structure.dip[0],
        "faults": len(structure.faults),
        "seabed": int(structure.seabed is not None),
        **asdict(acquisition),
    }
