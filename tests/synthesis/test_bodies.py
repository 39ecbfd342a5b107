"""Salt bodies: where their outlines lie, and how they drag what surrounds them."""

from dataclasses import replace

import numpy as np

from salt.synthesis.bodies import Diapir, Pillow, SaltScene, Sheet, draw_scene
from salt.synthesis.fields import window

GRID = window(1, 202, 202, inline_spacing=5, margin=0)
DIAPIR = Diapir(
    crossline=100,
    inline=0,
    crest=60,
    half_width=30,
    roundness=25,
    neck=0.5,
    lean=0,
    pedestal=0,
    reach=200,
)


def salt_width(body: Diapir | Pillow | Sheet, sample: int) -> int:
    return int((body.level(GRID)[0, sample] > 0).sum())


def test_a_diapir_begins_at_its_crest() -> None:
    assert salt_width(DIAPIR, 59) == 0
    assert salt_width(DIAPIR, 62) > 0


def test_a_neck_narrower_than_the_crest_makes_an_overhang() -> None:
    assert salt_width(DIAPIR, 190) < 0.7 * salt_width(DIAPIR, 85)
    assert salt_width(replace(DIAPIR, neck=1.0), 190) >= salt_width(DIAPIR, 85)


def test_a_leaning_diapir_shifts_sideways_with_depth() -> None:
    salt = replace(DIAPIR, lean=0.2, neck=1.0).level(GRID)[0] > 0
    centre = [np.flatnonzero(salt[sample]).mean() for sample in (100, 180)]
    assert np.isclose(centre[1] - centre[0], 0.2 * 80, atol=1)


def test_a_pillow_is_highest_at_its_crest_and_ends_at_its_base() -> None:
    pillow = Pillow(100, 0, crest=80, height=40, half_width=50, thickness=60, tilt=0, reach=200)
    salt = pillow.level(GRID)[0] > 0
    assert np.flatnonzero(salt[:, 100]).tolist() == list(range(81, 140))
    assert np.flatnonzero(salt[:, 0]).min() > 115


def test_a_sheet_pinches_out_at_its_tips() -> None:
    sheet = Sheet(100, 0, depth=100, half_thickness=15, half_length=60, tilt=0, sag=0, reach=200)
    thickness = (sheet.level(GRID)[0] > 0).sum(axis=0)
    assert thickness[100] == 29
    assert thickness[38] == thickness[162] == 0 < thickness[45]


def test_drag_is_strongest_at_the_flank_and_leaves_a_rim_syncline() -> None:
    scene = SaltScene((replace(DIAPIR, neck=1.0),), (), drag=20, drag_reach=20)
    uplift = scene.uplift(GRID)[0, 150]  # [X]
    flank = int(np.flatnonzero(scene.level(GRID)[0, 150] > 0).max()) + 1
    assert np.isclose(uplift[flank], 20, atol=1)
    assert (np.diff(uplift[flank : flank + 40]) < 0).all()
    assert uplift[flank + 55] < 0


def test_salt_stays_below_its_ceiling() -> None:
    scene = SaltScene((DIAPIR,), (), ceiling=lambda grid: 0.1 * grid.crossline + 80)
    salt = scene.level(GRID)[0] > 0
    assert np.flatnonzero(salt[:, 100]).min() == 91


def test_a_scene_without_bodies_has_no_salt_and_no_drag() -> None:
    scene = SaltScene((), ())
    assert (scene.level(GRID) < 0).all()
    assert not scene.uplift(GRID).any()


def test_scenes_are_rough_at_several_scales() -> None:
    scene = draw_scene(np.random.default_rng(4), GRID, bodies=1, size=1.0)
    amplitudes = [amplitude for amplitude, _ in scene.roughness]
    assert amplitudes == sorted(amplitudes, reverse=True) and amplitudes[-1] > 0
