import jax
import pytest

from experiments.benchmark import timing
from experiments.benchmark.timing import Contestant


class Device:
    """A clock, and a device on which a call takes `work` seconds once it began."""

    def __init__(self, ask, work, wait):
        self.ask, self.work, self.latency = ask, work, wait
        self.now = self.free = 0.0
        self.asked = []

    def call(self):
        self.now += self.ask
        self.free = max(self.free, self.now) + self.work
        self.asked[-1] += 1
        return self

    def wait(self, result):
        assert result is self
        self.now = max(self.now, self.free) + self.latency
        self.asked.append(0)

    def time(self, monkeypatch, on_cpu, rounds):
        monkeypatch.setattr(timing.fast, "on_cpu", lambda: on_cpu)
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)
        self.asked.append(0)
        contestants = {"it": Contestant(self.call, self.wait)}
        return timing.milliseconds(contestants, rounds)["it"]


def test_contestants_take_turns():
    turns = []
    contestants = {n: Contestant(lambda n=n: turns.append(n)) for n in "ab"}
    assert timing.milliseconds(contestants, 3).keys() == {"a", "b"}
    if jax.default_backend() == "cpu":
        assert turns == ["a", "b"] * 4


def test_every_call_is_waited_for_on_a_cpu(monkeypatch):
    device = Device(ask=0.25, work=1.0, wait=0.5)
    assert device.time(monkeypatch, on_cpu=True, rounds=2) == pytest.approx(1750)
    assert device.asked == [1, 1, 1, 0]


def test_an_accelerator_is_waited_for_once_in_50_milliseconds(monkeypatch):
    # Asking and waiting take twice as long as the work of a call.
    device = Device(ask=5e-6, work=20e-6, wait=40e-6)
    ms = device.time(monkeypatch, on_cpu=False, rounds=3)
    assert ms == pytest.approx(0.020, rel=0.01)
    *_, last, _ = device.asked
    assert 0.025 <= last * 20e-6 <= 0.1
    assert device.asked[-5:] == [last] * 4 + [0]


def test_long_work_of_an_accelerator_is_asked_for_once(monkeypatch):
    device = Device(ask=1e-5, work=0.1, wait=1e-5)
    assert device.time(monkeypatch, on_cpu=False, rounds=2) == pytest.approx(100, 0.01)
    assert device.asked == [1] * 5 + [0]
