"""Laying tiles out as mosaics along weighted seams."""

import numpy as np

from salt.neighbours.sections import ACROSS, DOWN, Layout, Links, assemble, neighbours_of

Seam = tuple[int, int, int, float]


class Judge:
    """Knows the evidence of some pairs; any other pair does not fit."""

    def __init__(self, known: dict[tuple[int, int], float]) -> None:
        self.known = known

    def closing_evidence(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        pairs = zip(first.tolist(), second.tolist(), strict=True)
        return np.array([self.known.get(pair, -6.0) for pair in pairs])


def _assemble(
    count: int,
    seams: list[Seam],
    across: dict[tuple[int, int], float] | None = None,
    down: dict[tuple[int, int], float] | None = None,
) -> Layout:
    first, second, axis, log_odds = (np.array(column) for column in zip(*seams, strict=True))
    judges = Judge(across or {}), Judge(down or {})
    return assemble(count, Links(first, second, axis, log_odds), judges)


def _grid(layout: Layout) -> list[tuple[int, int, int]]:
    columns = (layout.mosaic, layout.row, layout.column)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_good_seam_joins_and_a_weak_one_does_not() -> None:
    layout = _assemble(4, [(0, 1, ACROSS, 5.0), (2, 3, DOWN, 1.5)])
    assert _grid(layout) == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (2, 0, 0)]


def test_mosaics_are_numbered_by_size_and_start_at_row_and_column_zero() -> None:
    layout = _assemble(5, [(4, 3, DOWN, 6.0), (2, 3, ACROSS, 6.0)])
    assert _grid(layout) == [(1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1)]


def test_a_weak_fourth_side_is_brought_in_by_a_seam_that_fits() -> None:
    three = [(0, 1, ACROSS, 9.0), (0, 2, DOWN, 9.0), (1, 3, DOWN, -1.0)]
    assert _grid(_assemble(4, three, across={(2, 3): 4.0}))[3] == (0, 1, 1)
    assert _grid(_assemble(4, three))[3] == (1, 0, 0)


def test_a_cell_holds_one_tile_and_the_better_seam_gets_it() -> None:
    layout = _assemble(3, [(0, 1, ACROSS, 5.0), (0, 2, ACROSS, 4.0)])
    assert _grid(layout) == [(0, 0, 0), (0, 0, 1), (1, 0, 0)]


def test_a_doubtful_seam_that_contradicts_two_good_ones_goes() -> None:
    good = [(0, 1, ACROSS, 8.0), (1, 2, ACROSS, 8.0)]
    layout = _assemble(3, [*good, (0, 2, DOWN, 6.0)])
    assert _grid(layout) == [(0, 0, 0), (0, 0, 1), (0, 0, 2)]


def test_whole_mosaics_that_would_overlap_stay_apart() -> None:
    upper, lower = (0, 1, ACROSS, 9.0), (2, 3, ACROSS, 9.0)
    layout = _assemble(4, [upper, lower, (1, 2, ACROSS, 8.0), (0, 3, DOWN, 7.0)])
    assert _grid(layout) == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)]


def test_a_join_whose_other_seams_do_not_fit_is_refused() -> None:
    rows = [(0, 1, ACROSS, 9.0), (2, 3, ACROSS, 9.0), (0, 2, DOWN, 6.0)]
    assert _assemble(4, rows).mosaic.tolist() == [0, 0, 1, 1]
    assert _assemble(4, rows, down={(1, 3): 0.0}).mosaic.tolist() == [0, 0, 0, 0]


def test_neighbours_are_read_off_the_grid() -> None:
    layout = _assemble(5, [(0, 1, ACROSS, 9.0), (1, 2, DOWN, 9.0)])
    sides = neighbours_of(layout)
    assert sides["right"].tolist() == [1, -1, -1, -1, -1]
    assert sides["left"].tolist() == [-1, 0, -1, -1, -1]
    assert sides["down"].tolist() == [-1, 2, -1, -1, -1]
    assert sides["up"].tolist() == [-1, -1, 1, -1, -1]
