"""Random adults: phenotypes and slider values whose spread gives head measures close to adult anthropometry."""

import numpy as np

from tools.open_head.macro_targets import RACES, LocalTarget

SIZE_DAMPING = 0.6
"""MakeHuman's stature sliders scale heads more than stature does in people: sizes are taken to the power 1 - 0.6."""

SPREAD_RULES: tuple[tuple[tuple[str, ...], float], ...] = (
    (("nose-trans-out", "mouth-trans-out"), 0.04),
    (("ear-", "l-ear-", "r-ear-"), 0.25),
    (("nose",), 0.17),
)
"""First prefix that fits gives the slider's standard deviation."""
ONE_SIDED_SPREAD = 0.14
ASYMMETRY_SPREAD = 0.12
LATE_RULES: tuple[tuple[tuple[str, ...], float], ...] = (
    (
        (
            "mouth-upperlip-middle", "mouth-lowerlip-middle", "mouth-upperlip-ext", "mouth-lowerlip-ext",
            "mouth-angles", "mouth-laugh", "mouth-dimples",
        ),
        0.10,
    ),  # would open or bend the neutral mouth
    (("head-scale", "head-back"), 0.12),
    (("neck", "measure-neck", "head-age", "head-fat"), 0.15),
)  # fmt: skip
DEFAULT_SPREAD = 0.22
SIDE_DIFFERENCE = 0.05


def slider_spread(target: LocalTarget) -> float:
    """Standard deviation of a slider in the population."""
    if target.side == "asym":
        return ASYMMETRY_SPREAD
    for prefixes, spread in SPREAD_RULES:
        if target.label.startswith(prefixes):
            return spread
    if target.negative is None:
        return ONE_SIDED_SPREAD
    for prefixes, spread in LATE_RULES:
        if target.label.startswith(prefixes):
            return spread
    return DEFAULT_SPREAD


def sample_adults(
    count: int, local: list[LocalTarget], rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draw adults of 18 to 80 years.

    Returns:
        Phenotypes (each [n], MakeHuman's 0..1 scales; age 0.67 is 25 years) and slider values [n, L].
    """
    u = rng.random(count)
    female, male = rng.beta(8, 1, count), rng.beta(1, 8, count)
    phenotypes = {
        "gender": np.where(u < 0.45, male, np.where(u < 0.9, female, rng.random(count))),
        "age": rng.uniform(0.56, 0.95, count),
        "muscle": rng.beta(2.5, 2.5, count),
        "weight": rng.beta(2.5, 2.5, count),
        "height": rng.beta(6, 6, count),
        "proportions": rng.beta(4, 4, count),
    }
    races = rng.dirichlet([0.5, 0.5, 0.5], count) + 1e-6
    phenotypes.update(zip(RACES, races.T, strict=True))
    return phenotypes, _sample_sliders(count, local, rng)


def _sample_sliders(count: int, local: list[LocalTarget], rng: np.random.Generator) -> np.ndarray:
    column = {target.label: i for i, target in enumerate(local)}
    sliders = np.zeros((count, len(local)))
    for i, target in enumerate(local):
        if target.side == "right":
            continue  # set together with its left partner
        x = rng.normal(0, slider_spread(target), count)
        if target.negative is None:
            x = np.abs(x) * (rng.random(count) < 0.6)
        if target.side == "left":
            sliders[:, column["r-" + target.label[2:]]] = x + rng.normal(0, SIDE_DIFFERENCE, count)
            x = x + rng.normal(0, SIDE_DIFFERENCE, count)
        sliders[:, i] = x
    return np.clip(sliders, -1, 1)
