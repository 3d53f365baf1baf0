"""Interleaved timing, and the memory that a program needs."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from cnnjax.ops import fast

ENOUGH = 0.05
"""Seconds of work that an accelerator is asked for before it is waited for."""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """`call` asks for a piece of work, and `wait` for the end of what it returned."""

    call: Callable[[], Any]
    wait: Callable[[Any], object] = jax.block_until_ready


Contestants = Mapping[str, Contestant]


def milliseconds(contestants: Contestants, rounds: int) -> dict[str, float]:
    """The median time of a call of each, interleaved, after one round for nothing.

    On CPU every call is waited for. To ask an accelerator and to wait for it may take
    longer than the work: it is asked for about 50 ms of calls, which it does in
    order, and the last is waited for.
    """
    counts = {name: _calls_to_time(c) for name, c in contestants.items()}
    times = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, contestant in contestants.items():
            times[name].append(_seconds(contestant, counts[name]))
    return {name: 1e3 * statistics.median(t[1:]) for name, t in times.items()}


def _calls_to_time(contestant: Contestant) -> int:
    if fast.on_cpu():
        return 1
    _seconds(contestant, 1)  # the first may have more to do
    count = 1
    while (seconds := _seconds(contestant, count)) * count < ENOUGH / 2:
        count = max(count + 1, math.ceil(ENOUGH / seconds))
    return count


def _seconds(contestant: Contestant, count: int) -> float:
    """The time of one of so many calls."""
    start = time.perf_counter()
    for _ in range(count - 1):
        contestant.call()
    contestant.wait(contestant.call())
    return (time.perf_counter() - start) / count


def compiled(function: Callable, *args: jax.Array) -> jax.stages.Compiled:
    """A function as ours are compiled."""
    options = fast.COMPILER_OPTIONS if fast.on_cpu() else {}
    return jax.jit(function).lower(*args).compile(compiler_options=options)


def extra_bytes(program: jax.stages.Compiled) -> int:
    """Memory of a program's temporaries."""
    return _memory(program).temp_size_in_bytes


def argument_bytes(program: jax.stages.Compiled) -> int:
    """Memory of a program's arguments."""
    return _memory(program).argument_size_in_bytes


def peak_bytes(program: jax.stages.Compiled) -> int:
    """Peak memory of arguments, results and temporaries."""
    memory = _memory(program)
    return (
        memory.temp_size_in_bytes
        + memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
    )


def _memory(program: jax.stages.Compiled) -> Any:
    memory = program.memory_analysis()
    if memory is None:
        raise ValueError("This device does not tell how much memory a program needs.")
    return memory
