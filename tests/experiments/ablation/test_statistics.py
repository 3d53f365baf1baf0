"""Statistics of runs against their definitions."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from experiments.ablation import statistics


def test_a_summary_has_mean_spread_and_student_interval():
    # By hand: deviations -1, 0, 1; t(0.975, 2 degrees) = 4.302653.
    found = statistics.summarize(np.array([1.0, 2.0, 3.0]))
    half = 4.302653 / math.sqrt(3)
    assert (found.runs, found.mean, found.std) == (3, 2.0, 1.0)
    assert found.t_interval == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert found.bootstrap is None


def test_one_run_has_no_interval():
    found = statistics.summarize(np.array([0.5]))
    assert (found.std, found.t_interval, found.bootstrap) == (None, None, None)
    difference = statistics.compare(np.array([0.5]), np.array([0.25]))
    assert difference.mean == 0.25
    assert difference.interval is difference.t_p is difference.flip_p is None


def test_the_bootstrap_begins_at_five_runs(rng):
    scores = rng.normal(0.9, 0.01, 5)
    low, high = statistics.summarize(scores).bootstrap
    assert scores.min() < low < scores.mean() < high < scores.max()
    assert statistics.summarize(np.full(5, 0.5)).bootstrap == (0.5, 0.5)


def test_a_score_that_is_not_finite_shows_in_the_mean():
    found = statistics.summarize(np.array([0.5, 0.6, np.nan, 0.7, 0.8]))
    assert math.isnan(found.mean)
    assert found.bootstrap is None


def test_intervals_cover_as_often_as_they_say(rng):
    drawn = rng.normal(0, 1, (2000, 5))
    covered = [low < 0 < high for low, high in map(statistics.t_interval, drawn)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_differences_are_paired():
    # What seeds share cancels: each pair differs by about 0.01, seeds by 0.1.
    base = np.array([0.5, 0.6, 0.7, 0.8])
    found = statistics.compare(base + np.array([0.01, 0.011, 0.009, 0.01]), base)
    assert found.mean == pytest.approx(0.01)
    assert found.t_p < 0.001
    assert found.interval[0] > 0.008
    assert found.flip_p == 2 / 2**4


def test_sign_flips_are_all_counted():
    differences = np.array([0.3, -0.1, 0.4, 0.25, -0.05])
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=5)
    ]
    expected = np.mean([total >= abs(differences.sum()) - 1e-12 for total in sums])
    assert statistics.sign_flip_test(differences) == pytest.approx(expected)


def test_equal_scores_are_no_difference():
    same = np.array([0.1, 0.2, 0.3])
    found = statistics.compare(same, same)
    assert (found.mean, found.t_p, found.flip_p) == (0, 1, 1)
    assert found.improvement == pytest.approx(0.5)


def test_rounding_is_no_spread():
    # Accuracies on 288 images, 3 right answers apart, but for the last bits.
    right = np.array([258, 229, 213, 180, 185])
    found = statistics.compare((right + 3) / 288, right / 288)
    assert 0 < found.std < 1e-15
    assert found.t_p == 0
    assert statistics.seeds_needed(0.005, found.std) == 2
    low, high = statistics.bootstrap(np.array([0.5, 0.5, 0.5, 0.5, 0.5 + 1e-16]))
    assert (low, high) == (0.5, 0.5)


def test_probability_of_improvement_counts_pairs():
    # 3 of 4 pairs ahead, one tied: (3 + 1 / 2) / 4; Agarwal et al. (2021), section 4.3.
    scores, base = np.array([2.0, 3.0]), np.array([1.0, 2.0])
    assert statistics.probability_of_improvement(scores, base) == 0.875
    assert statistics.probability_of_improvement(base, scores) == 0.125
    smaller = statistics.probability_of_improvement(
        scores, base, smaller_is_better=True
    )
    assert smaller == 0.125


def test_holm_multiplies_and_keeps_the_order():
    # 0.01 * 4; 0.02 * 3; 0.03 * 2, no less than what came before; 0.9 * 1.
    corrected = statistics.holm([0.03, 0.01, None, 0.9, 0.02])
    assert corrected == pytest.approx([0.06, 0.04, None, 0.9, 0.06])
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]


def test_seeds_needed_reach_the_power(rng):
    # Cohen (1988): d = 0.5, two-sided 5 %, power 80 %: 34 pairs.
    assert statistics.seeds_needed(0.5, 1.0) == 34
    assert statistics.seeds_needed(0.01, 0.0) == 2
    assert statistics.seeds_needed(1e-6, 1.0) is None
    drawn = rng.normal(0.5, 1.0, (4000, 34))
    found = scipy.stats.ttest_1samp(drawn, 0.0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_the_interquartile_mean_leaves_a_quarter_at_each_end():
    # Of 8 scores the 2 lowest and the 2 highest go; Agarwal et al. (2021), section 4.3.
    scores = np.array([0.0, 100.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.0])
    assert statistics.interquartile_mean(scores) == (2 + 3 + 4 + 5) / 4


def test_the_stratified_bootstrap_keeps_tasks_apart():
    # All runs of a task are alike: whatever is drawn, the statistic is the same.
    scores = np.repeat([[0.1], [0.9]], 5, axis=1)

    def mean(drawn):
        return drawn.mean(axis=-1)

    assert statistics.stratified_bootstrap(scores, mean) == pytest.approx((0.5, 0.5))
    low, high = statistics.stratified_bootstrap(scores + np.arange(5) / 100)
    assert low < 0.52 < high


def test_a_performance_profile_is_the_share_above():
    scores = np.array([[0.1, 0.5], [0.5, 0.9]])
    found = statistics.performance_profile(scores, np.array([0.0, 0.1, 0.5, 0.9]))
    assert list(found) == [1.0, 0.75, 0.25, 0.0]
