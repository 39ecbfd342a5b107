"""The imaging chain: its physics in the small, then what a section looks like."""

from dataclasses import replace

import numpy as np
import pytest

from salt.synthesis.fields import window
from salt.synthesis.geology import Model
from salt.synthesis.seismic import (
    draw_acquisition,
    filter_sections,
    image,
    noise_response,
    reflectivity,
    ricker_spectrum,
    signal_response,
    to_grey,
)

QUIET = replace(
    draw_acquisition(np.random.default_rng(0), wavelength=16.0, variety=0.0),
    stretch=2.0,
    phase=0.0,
    illuminated_dip=60.0,
    noise=0.1,
    salt_noise=0.1,
    footprint=0.0,
    agc=0.3,
    offset=120.0,
    scale=35.0,
    streak_width=np.pi,
)


def traces_of_spikes(samples: int, spacing: int) -> np.ndarray:
    """Filter flat reflectors `spacing` samples apart; return the middle trace."""
    sections = np.zeros((1, samples, 64), dtype=np.float32)
    sections[:, spacing // 2 :: spacing] = 1
    return filter_sections(sections, QUIET, signal_response)[0, :, 32]


def dominant_frequency(trace: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(trace, 1024)) ** 2
    return float(np.fft.rfftfreq(1024)[power.argmax()])


def test_constant_impedance_reflects_nothing() -> None:
    assert not reflectivity(np.full((2, 50, 50), 0.7, dtype=np.float32)).any()


def test_reflectivity_is_the_normal_incidence_coefficient() -> None:
    impedance = np.array([4.0, 4.0, 9.0, 6.0])
    expected = [0, 0, (9 - 4) / (9 + 4), (6 - 9) / (6 + 9)]
    assert np.allclose(reflectivity(np.log(impedance)[None, :, None]).ravel(), expected)


def test_the_wavelet_has_no_constant_part_and_peaks_at_its_wavelength() -> None:
    frequencies = np.linspace(0, 0.5, 2001)
    spectrum = ricker_spectrum(frequencies, 20.0)
    assert spectrum[0] == 0 and np.isclose(spectrum.max(), 1)
    assert np.isclose(frequencies[spectrum.argmax()], 1 / 20, atol=1e-3)


def test_wavelets_have_zero_mean_and_lose_frequency_with_depth() -> None:
    trace = traces_of_spikes(samples=600, spacing=120)
    assert abs(trace.mean()) < 1e-3 * np.abs(trace).max()
    frequencies = [dominant_frequency(trace[top : top + 120]) for top in (0, 240, 480)]
    assert frequencies[0] > frequencies[1] > frequencies[2]
    assert frequencies[0] / frequencies[2] == pytest.approx(2.0 ** (480 / 600), rel=0.15)


def test_dips_beyond_the_illuminated_one_are_not_imaged() -> None:
    sample, crossline = np.mgrid[:128, :128]
    amplitudes = []
    for angle in (20, 80):
        across = np.cos(np.radians(angle)) * sample + np.sin(np.radians(angle)) * crossline
        waves = np.cos(2 * np.pi * across / 16)[None].astype(np.float32)
        filtered = filter_sections(waves, QUIET, signal_response)
        amplitudes.append(float(filtered[:, 48:80, 48:80].std()))
    assert amplitudes[1] < 0.15 * amplitudes[0]


def test_filtered_noise_keeps_unit_variance_whatever_its_direction() -> None:
    white = np.random.default_rng(1).standard_normal((2, 256, 256), dtype=np.float32)
    streaky = replace(QUIET, streak_angle=0.7, streak_width=0.3, stretch=1.0)
    for acquisition in (replace(QUIET, stretch=1.0), streaky):
        assert np.isclose(filter_sections(white, acquisition, noise_response).std(), 1, rtol=0.15)


def test_grey_levels_rise_with_amplitude_around_the_offset() -> None:
    grey = to_grey(np.linspace(-8, 8, 17), offset=120.0, scale=35.0)
    assert grey.dtype == np.uint8 and grey[8] == 120
    assert (np.diff(grey.astype(int)) >= 0).all()


def layered_model_with_salt() -> Model:
    log_impedance = np.random.default_rng(2).normal(0, 0.06, (1, 40, 1)).repeat(4, axis=1)
    log_impedance = np.tile(log_impedance, (2, 1, 160)).astype(np.float32)
    salt = np.zeros(log_impedance.shape, dtype=bool)
    salt[:, 70:130, 50:110] = True
    log_impedance[salt] = 0.6
    return Model(log_impedance, salt, np.zeros_like(salt))


def test_top_salt_is_the_brightest_event_and_salt_is_dim_inside() -> None:
    grid = window(2, 160, 160, inline_spacing=5, margin=0)
    sections = image(np.random.default_rng(3), layered_model_with_salt(), grid, QUIET)
    energy = np.abs(sections[0].astype(float) - QUIET.offset)
    top, inside = energy[66:75, 65:95].mean(axis=1).max(), energy[90:110, 65:95].mean()
    outside = energy[70:130, :30].mean()
    assert top > 2 * outside and inside < 0.6 * outside


def test_salt_dims_what_lies_below_it() -> None:
    model = layered_model_with_salt()
    grid = window(2, 160, 160, inline_spacing=5, margin=0)
    lit, dim = (
        image(np.random.default_rng(4), model, grid, replace(QUIET, shadow=shadow, agc=0.0))
        for shadow in (1e9, 20.0)
    )
    below = (0, slice(140, 160), slice(70, 90))
    assert dim[below].std() < 0.7 * lit[below].std()
