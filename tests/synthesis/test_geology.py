"""The layered block: deformation moves layers without changing them, and salt cuts them."""

from dataclasses import replace

import numpy as np

from salt.synthesis.bodies import Diapir, SaltScene
from salt.synthesis.fields import Grid, draw_field, window
from salt.synthesis.geology import Fault, Structure, build_model, draw_column, draw_structure

GRID = window(1, 160, 160, inline_spacing=5, margin=0)
NO_SALT = SaltScene((), ())


def flat_structure(seed: int = 0) -> Structure:
    """Horizontal layers: nothing that varies along crosslines."""
    drawn = draw_structure(np.random.default_rng(seed), GRID, wavelength=20, seabed_chance=0)
    column = replace(drawn.young, variant=np.zeros_like(drawn.young.variant))
    return replace(
        drawn,
        dip=(0.0, 0.0),
        folds=(),
        faults=(),
        old=column,
        young=column,
        old_dip=0.0,
        chaos=(0.0, 1.0, 0.0, drawn.chaos[3]),
        compaction=0.0,
    )


def shifted(grid: Grid, samples: float) -> Grid:
    return replace(grid, sample=grid.sample + np.float32(samples))


def test_layers_without_deformation_are_horizontal() -> None:
    log_impedance = flat_structure().log_impedance(GRID)
    assert np.allclose(log_impedance, log_impedance[:, :, :1], atol=1e-6)
    assert log_impedance.std() > 0.02


def test_uplift_brings_deeper_layers_up_unchanged() -> None:
    structure = flat_structure()
    raised = structure.log_impedance(GRID, uplift=7.0)
    assert np.allclose(raised, structure.log_impedance(shifted(GRID, 7)), atol=1e-4)


def test_dip_lowers_layers_along_crosslines() -> None:
    level = flat_structure()
    dipping = replace(level, dip=(0.25, 0.0)).log_impedance(GRID)
    assert np.allclose(
        dipping[0, 40:, 80], level.log_impedance(shifted(GRID, -20))[0, 40:, 0], atol=1e-4
    )


def test_a_fault_lowers_its_hanging_wall_by_its_throw() -> None:
    bend = replace(draw_field(np.random.default_rng(0), GRID, (50, 50, 50)))
    straight = replace(bend, control=np.zeros_like(bend.control))
    fault = Fault(crossline=80, centre=80, hade=0.5, strike=0, throw=12, length=1e6, bend=straight)
    displacement = np.broadcast_to(fault.displacement(GRID), GRID.shape)[0]
    assert displacement[80, 79] == 0
    assert np.isclose(displacement[80, 82], 12, rtol=0.05)
    assert displacement[120, 99] == 0 < displacement[120, 102]  # the surface dips to the right


def test_reflection_strength_is_heavy_tailed_and_repeatable() -> None:
    columns = [draw_column(np.random.default_rng(1), -100, 900, bed=5) for _ in range(2)]
    steps = np.diff(columns[0].main)
    steps = steps[steps != 0]
    kurtosis = np.mean((steps - steps.mean()) ** 4) / steps.var() ** 2
    assert kurtosis > 3.3  # 3 for a normal distribution
    assert np.array_equal(columns[0].main, columns[1].main)


def test_layers_turn_upwards_towards_a_diapir() -> None:
    diapir = Diapir(
        crossline=150,
        inline=0,
        crest=-60,
        half_width=30,
        roundness=20,
        neck=1.0,
        lean=0,
        pedestal=0,
        reach=200,
    )
    scene = SaltScene((diapir,), (), drag=15, drag_reach=25)
    structure = flat_structure()
    model = build_model(structure, scene, GRID)
    flank = int(np.flatnonzero(model.salt[0, 100]).min())
    far, near = model.log_impedance[0, :, 20], model.log_impedance[0, :, flank - 6]
    misfit = [np.abs(far[40:140] - near[40 - up : 140 - up]).mean() for up in range(25)]
    assert 8 <= int(np.argmin(misfit)) <= 18


def test_salt_is_homogeneous_and_harder_than_every_layer() -> None:
    diapir = Diapir(80, 0, 40, 30, 25, 1.0, 0, 0, 200)
    model = build_model(flat_structure(), SaltScene((diapir,), ()), GRID)
    deep = model.log_impedance[0, 120:, 75:85]
    assert model.salt[0, 120:, 75:85].all() and deep.std() < 1e-4
    assert deep.mean() > np.quantile(model.log_impedance[~model.salt], 0.99)


def test_crumbs_of_salt_too_small_to_interpret_are_not_salt() -> None:
    crumb = Diapir(80, 0, 70, 3, 3, 0.0, 0, 0, 200)
    assert not build_model(flat_structure(), SaltScene((crumb,), ()), GRID).salt.any()


def test_water_holds_neither_layers_nor_salt() -> None:
    structure = draw_structure(np.random.default_rng(5), GRID, wavelength=20, seabed_chance=1)
    diapir = Diapir(80, 0, -50, 40, 20, 1.0, 0, 0, 200)
    model = build_model(structure, SaltScene((diapir,), ()), GRID)
    assert model.water.any() and not (model.water & model.salt).any()
    assert model.log_impedance[0, 0].std() < 1e-3
