"""Statistics of runs that differ by their seed: intervals, paired tests, aggregates.

Scores are arrays of runs, one a seed. Differences are paired: runs of one seed have
the same split, and the same initialization where the networks are alike, so that what
they share cancels. All intervals cover 95 %.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

Scores = Float[np.ndarray, " runs"]
Interval = tuple[float, float]

LEVEL = 0.95
# The fewest runs whose bootstrap interval is shown: fewer make too few resamples.
BOOTSTRAP_RUNS = 5
_RESAMPLES = 9999
_ROUNDING = 1e-12  # scores that differ by less are alike
# The most pairs whose sign flips are all counted; of more, so many are drawn.
_EXACT_PAIRS = 16
_FLIPS = 2**_EXACT_PAIRS


@dataclasses.dataclass(frozen=True)
class Summary:
    """What runs of one cell say.

    Attributes:
        runs: how many.
        mean: of their scores.
        std: standard deviation with n - 1 degrees; None for one run.
        t_interval: of the mean, by Student's t; None for one run.
        bootstrap: of the mean, bias-corrected and accelerated; None below
            `BOOTSTRAP_RUNS` runs, and where a score is not finite.
    """

    runs: int
    mean: float
    std: float | None
    t_interval: Interval | None
    bootstrap: Interval | None


@dataclasses.dataclass(frozen=True)
class Difference:
    """A cell minus the base, over the seeds that both have.

    Attributes:
        pairs: how many seeds.
        mean: of the differences.
        std: standard deviation of the differences; None for one pair.
        interval: of the mean, by Student's t; None for one pair.
        t_p: two-sided p-value of the paired t test; None for one pair.
        flip_p: two-sided p-value of flipping the differences' signs, exact up to 16
            pairs. It cannot be below 2 / 2^pairs.
        improvement: probability that a run of the cell is better than one of the base.
    """

    pairs: int
    mean: float
    std: float | None
    interval: Interval | None
    t_p: float | None
    flip_p: float | None
    improvement: float


def summarize(scores: Scores) -> Summary:
    """Mean, spread and intervals of the scores of at least one run."""
    scores = np.asarray(scores, np.float64)
    several = len(scores) > 1
    many = len(scores) >= BOOTSTRAP_RUNS and bool(np.isfinite(scores).all())
    return Summary(
        runs=len(scores),
        mean=float(scores.mean()),
        std=float(scores.std(ddof=1)) if several else None,
        t_interval=t_interval(scores) if several else None,
        bootstrap=bootstrap(scores) if many else None,
    )


def compare(
    scores: Scores, base: Scores, *, smaller_is_better: bool = False
) -> Difference:
    """The difference of paired scores: entry i of both has the same seed."""
    scores, base = np.asarray(scores, np.float64), np.asarray(base, np.float64)
    differences = scores - base
    several = len(differences) > 1
    return Difference(
        pairs=len(differences),
        mean=float(differences.mean()),
        std=float(differences.std(ddof=1)) if several else None,
        interval=t_interval(differences) if several else None,
        t_p=t_test(differences) if several else None,
        flip_p=sign_flip_test(differences) if several else None,
        improvement=probability_of_improvement(
            scores, base, smaller_is_better=smaller_is_better
        ),
    )


def t_interval(scores: Scores) -> Interval:
    """The interval of the mean of at least two scores, by Student's t."""
    half = scipy.stats.t.ppf((1 + LEVEL) / 2, len(scores) - 1) * scipy.stats.sem(scores)
    return float(np.mean(scores) - half), float(np.mean(scores) + half)


def bootstrap(scores: Scores, statistic: Callable[..., Any] = np.mean) -> Interval:
    """The bias-corrected and accelerated bootstrap interval (Efron, 1987).

    Where all scores are alike the interval is that one value.
    """
    if np.ptp(scores) < _ROUNDING:
        return (float(scores[0]),) * 2
    found = scipy.stats.bootstrap(
        (scores,),
        statistic,
        confidence_level=LEVEL,
        n_resamples=_RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def t_test(differences: Scores) -> float:
    """Two-sided p-value of the mean of at least two differences being zero.

    Differences that are all alike have no spread to test by: 1 if they are zero, or 0.
    """
    if np.ptp(differences) < _ROUNDING:
        return float(abs(differences[0]) < _ROUNDING)
    return float(scipy.stats.ttest_1samp(differences, 0.0).pvalue)


def sign_flip_test(differences: Scores) -> float:
    """Two-sided p-value of the mean if each difference could as well be its opposite.

    Exact up to 16 differences (Fisher, 1935), by 65,535 draws beyond.
    """
    return float(
        scipy.stats.permutation_test(
            (differences, np.zeros_like(differences)),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            permutation_type="samples",  # swaps x and y of a pair
            n_resamples=_FLIPS - 1 if len(differences) > _EXACT_PAIRS else _FLIPS,
            vectorized=True,
            rng=np.random.default_rng(0),
        ).pvalue
    )


def probability_of_improvement(
    scores: Scores, base: Scores, *, smaller_is_better: bool = False
) -> float:
    """How often a run drawn from `scores` beats one from `base`; ties count half.

    Agarwal et al. (2021), section 4.3: the Mann-Whitney statistic over all pairs.
    """
    sign = -1 if smaller_is_better else 1
    ahead = sign * (np.asarray(scores)[:, None] - np.asarray(base)[None])
    return float(np.mean((ahead > 0) + 0.5 * (ahead == 0)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction (1979) of the p-values of a family; None stays None.

    The i-th smallest of m is multiplied by m - i + 1, at most 1, and is at least what
    the one before it became.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[i] = largest
    return corrected


def seeds_needed(
    difference: float, std: float, *, power: float = 0.8, most: int = 100_000
) -> int | None:
    """How many seeds the paired t test needs to find a difference of this size.

    Args:
        difference: between the means, not zero.
        std: standard deviation of the paired differences.
        power: probability of finding it.
        most: beyond it, None is returned.
    """
    if std < _ROUNDING:
        return 2

    def found(count: int) -> bool:
        critical = scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)
        shift = abs(difference) / std * np.sqrt(count)
        tail = scipy.stats.nct.sf(critical, count - 1, shift)
        tail += scipy.stats.nct.cdf(-critical, count - 1, shift)
        return bool(tail >= power)

    low, high = 1, 2
    while not found(high):
        low, high = high, 2 * high
        if low >= most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high if high <= most else None


def interquartile_mean(
    scores: Float[np.ndarray, "*batch runs"],
) -> Float[np.ndarray, "*batch"]:
    """The mean of the middle half of scores (Agarwal et al., 2021, section 4.3)."""
    return scipy.stats.trim_mean(scores, 0.25, axis=-1)


def stratified_bootstrap(
    scores: Float[np.ndarray, "tasks runs"],
    statistic: Callable[[np.ndarray], np.ndarray] = interquartile_mean,
) -> Interval:
    """The percentile interval of a statistic of runs on several tasks.

    Runs are resampled within each task (Agarwal et al., 2021, section 4.1).

    Args:
        scores: as many runs of each task.
        statistic: of all scores together, over the last axis.
    """
    tasks, runs = scores.shape
    drawn = np.random.default_rng(0).integers(0, runs, (_RESAMPLES, tasks, runs))
    resampled = np.take_along_axis(scores[None], drawn, axis=-1)
    values = statistic(resampled.reshape(_RESAMPLES, tasks * runs))
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def performance_profile(
    scores: Float[np.ndarray, "*runs"], thresholds: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The share of all runs with a score above each threshold.

    Agarwal et al. (2021), section 4.2, equation 1: the run-score distribution.
    """
    return np.mean(np.ravel(scores)[:, None] > thresholds[None], axis=0)
