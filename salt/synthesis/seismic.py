"""From impedance to a migrated, gained, grey image, one 2-D section per inline.

Imaging is modelled by its point-spread function (Lecomte, "Resolution and illumination
analyses in PSDM: a ray-based approach", The Leading Edge 27, 2008): the reflectivity is
filtered in the wavenumber domain by a radial wavelet spectrum and by the range of dips that
the survey illuminates. This gives wavelets normal to dipping reflectors, lateral smoothing
by the Fresnel zone and dim steep flanks at once, which trace-by-trace convolution does not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter

from salt.synthesis.fields import Grid, draw_field
from salt.synthesis.geology import Model

AGC_WINDOW = 51  # pixels; its running mean is taken twice


@dataclass(frozen=True)
class Acquisition:
    """How a block was shot and processed.

    Attributes:
        wavelength: dominant wavelength at the window's centre, pixels.
        stretch: wavelength at the bottom over that at the top; above 1, as high
            frequencies are absorbed on the way.
        phase: of the wavelet, radians.
        illuminated_dip: steepest dip that is imaged, degrees.
        shadow: pixels of salt above a point that dim it to 1/e.
        noise, salt_noise: band-limited noise relative to the sediments' amplitude.
        streak_angle: direction of coherent noise, radians from horizontal layering.
        streak_width: its angular half-width, radians; pi gives isotropic noise.
        footprint: relative strength of acquisition stripes.
        footprint_period: crosslines.
        agc: 0 keeps relative amplitudes, 1 levels them fully.
        offset, scale: grey level of zero amplitude, and per unit amplitude.
    """

    wavelength: float
    stretch: float
    phase: float
    illuminated_dip: float
    shadow: float
    noise: float
    salt_noise: float
    streak_angle: float
    streak_width: float
    footprint: float
    footprint_period: float
    agc: float
    offset: float
    scale: float


# (vertical [Z, 1], horizontal [1, K] wavenumber, wavelength, acquisition) -> spectrum [Z, K]
Response = Callable[[np.ndarray, np.ndarray, float, Acquisition], np.ndarray]


def draw_acquisition(rng: np.random.Generator, *, wavelength: float, variety: float) -> Acquisition:
    """Draw a survey's character around a typical one.

    With `variety` 1 the ranges span what TGS tiles show, gathered from many surveys; with
    0 every block is shot and processed alike.
    """

    def around(typical: float, low: float, high: float) -> float:
        return typical + variety * (rng.uniform(low, high) - typical)

    return Acquisition(
        wavelength=wavelength,
        stretch=around(1.3, 1.1, 1.6),
        phase=variety * rng.normal(0, 0.5) + (np.pi if rng.random() < variety - 0.5 else 0),
        illuminated_dip=around(70, 55, 85),
        shadow=around(150, 60, 250),
        noise=around(0.17, 0.1, 0.5),
        salt_noise=around(0.12, 0.1, 0.55),
        streak_angle=rng.uniform(-np.pi / 2, np.pi / 2),
        streak_width=rng.uniform(0.3, 0.8) if rng.random() < 0.5 * variety else np.pi,
        footprint=around(0.02, 0, 0.05),
        footprint_period=rng.uniform(5, 14),
        agc=around(0.4, 0.2, 0.8),
        offset=rng.normal(122, 16 * variety),
        scale=around(36, 26, 46),
    )


def reflectivity(log_impedance: np.ndarray) -> np.ndarray:
    """Return normal-incidence reflection coefficients along samples, [I, Z, X].

    (Z2 - Z1) / (Z2 + Z1) = tanh(half the step of log impedance); the first sample is 0.
    """
    steps = np.diff(log_impedance, axis=1, prepend=log_impedance[:, :1])
    return np.tanh(0.5 * steps)


def ricker_spectrum(wavenumber: np.ndarray, wavelength: float) -> np.ndarray:
    """Return the amplitude spectrum of a Ricker wavelet: zero at 0, peak 1 at 1/wavelength."""
    relative = (wavenumber * wavelength) ** 2
    return relative * np.exp(1 - relative)


def noise_spectrum(wavenumber: np.ndarray, wavelength: float) -> np.ndarray:
    """Return a spectrum that peaks where the wavelet's does but reaches wider to both sides.

    Noise with the wavelet's own spectrum looks like a labyrinth, as no real noise does.
    """
    relative = wavenumber * wavelength
    return relative * np.exp(1 - relative)


def image(
    rng: np.random.Generator, model: Model, grid: Grid, acquisition: Acquisition
) -> np.ndarray:
    """Return the section of every inline as grey levels, uint8 [I, Z, X]."""
    coherent = reflectivity(model.log_impedance) * _illumination(model.salt, acquisition.shadow)
    white = _inline_correlated_noise(rng, grid.shape)
    signal = filter_sections(coherent, acquisition, signal_response)
    noise = filter_sections(white, acquisition, noise_response)
    signal /= _rms(signal[~(model.salt | model.water)])
    level = _noise_level(rng, grid, model, acquisition)
    amplitude = _gain(signal + level * noise, model, acquisition.agc)
    amplitude *= 1 + acquisition.footprint * np.sin(
        2 * np.pi * (grid.crossline + 0.4 * grid.inline) / acquisition.footprint_period
    )
    amplitude *= _mute(model.water)
    return to_grey(amplitude, acquisition.offset, acquisition.scale)


def filter_sections(
    sections: np.ndarray, acquisition: Acquisition, response: Response
) -> np.ndarray:
    """Filter every section, [I, Z, X], with a response that changes with depth.

    It is computed for the top's and for the bottom's dominant wavelength, and blended
    linearly between them.
    """
    _, samples, crosslines = sections.shape
    padded = (next_fast_len(samples, real=True), next_fast_len(crosslines, real=True))
    spectrum = rfft2(sections, s=padded)
    vertical = np.fft.fftfreq(padded[0]).astype(np.float32)[:, None]
    horizontal = np.fft.rfftfreq(padded[1]).astype(np.float32)[None, :]
    half = float(np.sqrt(acquisition.stretch))
    top, bottom = (
        irfft2(spectrum * response(vertical, horizontal, wavelength, acquisition), s=padded)[
            :, :samples, :crosslines
        ]
        for wavelength in (acquisition.wavelength / half, acquisition.wavelength * half)
    )
    return top + (bottom - top) * np.linspace(0, 1, samples, dtype=np.float32)[:, None]


def signal_response(
    vertical: np.ndarray, horizontal: np.ndarray, wavelength: float, acquisition: Acquisition
) -> np.ndarray:
    """Return the point-spread function's spectrum: wavelet, phase and illuminated dips."""
    dip = np.degrees(np.arctan2(np.abs(horizontal), np.abs(vertical)))
    imaged = 1 / (1 + np.exp((dip - acquisition.illuminated_dip) / 4))
    band = ricker_spectrum(np.hypot(vertical, horizontal), wavelength)
    rotation = np.exp(1j * acquisition.phase * np.sign(vertical))
    return (band * imaged * rotation).astype(np.complex64)


def noise_response(
    vertical: np.ndarray, horizontal: np.ndarray, wavelength: float, acquisition: Acquisition
) -> np.ndarray:
    """Return the spectrum of chaotic or streaky noise; white noise keeps its variance."""
    angle = np.arctan2(horizontal, vertical) - acquisition.streak_angle
    turn = np.abs((angle + np.pi / 2) % np.pi - np.pi / 2)  # directions, not senses
    band = noise_spectrum(np.hypot(vertical, horizontal), wavelength)
    response = band * np.exp(-0.5 * (turn / acquisition.streak_width) ** 2)
    full = 2 * (response**2).sum() - (response[:, 0] ** 2).sum()
    return (response / np.sqrt(full / (len(vertical) * 2 * (horizontal.size - 1)))).astype(
        np.float32
    )


def to_grey(amplitude: np.ndarray, offset: float, scale: float) -> np.ndarray:
    """Map amplitudes to uint8 around `offset`; strong ones are compressed before they clip."""
    compressed = 4 * np.tanh(amplitude / 4)
    return np.clip(np.rint(offset + scale * compressed), 0, 255).astype(np.uint8)


def _illumination(salt: np.ndarray, shadow: float) -> np.ndarray:
    """Energy is lost in and under salt: its base and what lies below are dim."""
    thickness = np.cumsum(salt, axis=1, dtype=np.float32)
    return gaussian_filter1d(0.2 + 0.8 * np.exp(-thickness / shadow), 5, axis=2)


def _inline_correlated_noise(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    noise = rng.standard_normal(shape, dtype=np.float32)
    for inline in range(1, shape[0]):  # migration spreads noise over neighbouring inlines
        noise[inline] = 0.7 * noise[inline - 1] + 0.714 * noise[inline]
    return noise


def _noise_level(
    rng: np.random.Generator, grid: Grid, model: Model, acquisition: Acquisition
) -> np.ndarray:
    patchy = np.exp(0.35 * draw_field(rng, grid, (80, 60, 60))(grid))
    level = np.where(model.salt, acquisition.salt_noise, acquisition.noise)
    return patchy * gaussian_filter(level, (0, 1.5, 1.5)).astype(np.float32)


def _gain(amplitude: np.ndarray, model: Model, agc: float) -> np.ndarray:
    """Divide by a power of the local energy (automatic gain control), to unit rms overall."""
    energy = amplitude**2
    for _ in range(2):
        energy = uniform_filter(energy, (0, AGC_WINDOW, AGC_WINDOW), mode="nearest")
    levelled = amplitude / (np.clip(energy, 0, None) + np.float32(1e-4)) ** (agc / 2)
    return levelled / _rms(levelled[~model.water])


def _mute(water: np.ndarray) -> np.ndarray:
    return 1 - 0.97 * gaussian_filter(water.astype(np.float32), (0, 3, 1))


def _rms(values: np.ndarray) -> np.float32:
    return np.sqrt(np.mean(values**2, dtype=np.float64)).astype(np.float32) + np.float32(1e-9)
