"""Put shuffled tiles back together: neighbours and sections from the images alone.

edges       how well one tile's edge continues another's (learnt from seams inside tiles)
candidates  the best matches of every edge, with their odds
loops       four candidates that agree on a 2x2 block confirm each other
sections    joined into mosaics, strongest first, without contradiction
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from salt.neighbours.candidates import Candidates, find_candidates
from salt.neighbours.edges import measure_edges
from salt.neighbours.loops import confirm_loops
from salt.neighbours.sections import ACROSS, DOWN, Layout, Links, assemble, neighbours_of
from salt.seeding import generator


@dataclass(frozen=True)
class Jigsaw:
    """A solved puzzle of n tiles, named by their row in the images.

    Attributes:
        layout: every tile's mosaic, row and column.
        sides: `left`, `right`, `up`, `down`: the neighbour there, int64 [n], -1 where none.
        seams: one row per pair of neighbours: first, second (right of or below first), axis
            (0 across, 1 down), confidence: probability in (0, 1) that they belong together.
    """

    layout: Layout
    sides: dict[str, np.ndarray]
    seams: pd.DataFrame


def jigsaw(images: np.ndarray, seed: int = 0) -> Jigsaw:
    """Find which tiles uint8 [n, H, W] were cut from one picture, side by side.

    Tiles may have been gained one by one (any brightness and contrast) but not turned or
    scaled, and must meet without gap or overlap. Constant tiles and flat edges match nothing.
    Equal images and seed give equal results. Time grows with n^2, memory with n.

    Raises:
        InputError: the images are not [n, H, W] or have sides below six pixels.
    """
    draw = generator(seed, "jigsaw")
    with tqdm(total=4, desc="jigsaw", unit="step", mininterval=1.0) as progress:
        across = find_candidates(measure_edges(images, draw), draw)
        progress.update()
        down = find_candidates(measure_edges(images.transpose(0, 2, 1), draw), draw)
        progress.update()
        links = _links(across, down, len(images))
        progress.update()
        layout = assemble(len(images), links, (across, down))
        progress.update()
    sides = neighbours_of(layout)
    return Jigsaw(layout, sides, _seams(sides, links, (across, down)))


def _links(across: Candidates, down: Candidates, count: int) -> Links:
    log_odds = confirm_loops(across, down, count)
    return Links(
        first=np.concatenate([across.first, down.first]),
        second=np.concatenate([across.second, down.second]),
        axis=np.repeat([ACROSS, DOWN], [len(across.first), len(down.first)]),
        log_odds=np.concatenate(log_odds),
    )


def _seams(
    sides: dict[str, np.ndarray], links: Links, judges: tuple[Candidates, Candidates]
) -> pd.DataFrame:
    """List the neighbours; a seam is as sure as its own odds or those of fitting its place."""
    tables = []
    for axis, side in ((ACROSS, "right"), (DOWN, "down")):
        first = np.flatnonzero(sides[side] >= 0)
        second = sides[side][first]
        own = links.axis == axis
        known = pd.Series(
            links.log_odds[own], pd.MultiIndex.from_arrays([links.first[own], links.second[own]])
        )
        log_odds = known.reindex(pd.MultiIndex.from_arrays([first, second])).to_numpy()
        log_odds = np.fmax(log_odds, judges[axis].closing_evidence(first, second))
        confidence = 1 / (1 + np.exp(-log_odds))
        columns = {"first": first, "second": second, "axis": axis, "confidence": confidence}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
