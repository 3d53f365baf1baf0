import dataclasses

from cnnjax.training.train_progress import TrainProgress


def scored(*scores):
    """The progress after evaluations at steps 10, 20 and so on."""
    progress = TrainProgress()
    for number, score in enumerate(scores, start=1):
        progress.record_score(10 * number, score)
    return progress


def test_keeps_the_best_score_and_its_step():
    progress = scored(0.1, 0.5, 0.3)
    assert (progress.best, progress.best_step) == (0.5, 20)
    assert progress.evaluated == 30


def test_is_stale_until_the_score_improves():
    assert scored(0.5).stale == 0
    assert scored(0.5, 0.4, 0.3).stale == 2
    assert scored(0.5, 0.4, 0.6).stale == 0


def test_the_first_of_equal_scores_is_the_best():
    progress = scored(0.5, 0.5)
    assert (progress.best_step, progress.stale) == (10, 1)


def test_a_first_score_of_zero_is_the_best():
    assert scored(0.0).best_step == 10


def test_a_score_that_is_not_a_number_is_never_better():
    progress = scored(0.5, float("nan"))
    assert (progress.best, progress.stale) == (0.5, 1)


def test_a_checkpoint_stores_all_of_it():
    progress = scored(0.5, 0.4)
    progress.seconds["train"] = 1.5
    progress.resumed_at.append(7)
    assert TrainProgress(**dataclasses.asdict(progress)) == progress


def test_two_runs_share_nothing():
    TrainProgress().resumed_at.append(1)
    assert TrainProgress().resumed_at == []
