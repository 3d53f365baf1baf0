r"""Trains a grid of changes over several seeds, and says which of them matter.

python -m experiments.ablation --study=experiments/ablations/padding_mode.py
python -m experiments.ablation --experiment=classification --metric=accuracy \
    --base=--validation=0.2 --vary=norm=none,batch,group --vary=learning_rate=0.1,0.03
"""

import functools
import pathlib
import sys
from collections.abc import Callable

import jax

from cnnjax.errors import UsageError
from cnnjax.ops import fast
from cnnjax.training import command_line, compiled_programs, flags
from cnnjax.training.progress import duration, grid, log_line
from experiments import trainer
from experiments.ablation import load, local, remote, tables, verdicts, verify
from experiments.ablation.folder import Folder
from experiments.ablation.options import Options
from experiments.ablation.run import complete
from experiments.ablation.study import Plan, plan


def main() -> None:
    """Runs the study that the command line describes, and exits."""
    command_line.act_on((Options,), _act, show_help=_help)


def _act() -> None:
    options = flags.parse(Options)
    planned = plan(load.study(options))
    workdir = pathlib.Path(options.workdir or f"runs/{load.name(options)}")
    _check(options)
    if options.dry_run:
        _show_plan(planned, workdir)
        return
    # Runs have processes of their own: this one takes no accelerator from them.
    jax.config.update("jax_platforms", "cpu")
    folder = Folder(workdir, planned)
    if options.retry_failed:
        folder.forget_failures(planned)
    rows = complete(planned, folder, _work(options), title=load.name(options))
    grid("cells: mean ± standard deviation over seeds", tables.brief(planned, rows))
    log_line("differences to the base, paired by seed [95 % interval], p after Holm:")
    for sentence in verdicts.sentences(planned, rows):
        log_line(sentence)
    log_line(f"left in {workdir}: report.html, table.md, table.tex, results.csv")
    verified = not options.verify or verify.verify(planned, folder, options.verify)
    if not verified or any(row.failures for row in rows):
        sys.exit(1)


def _check(options: Options) -> None:
    """Refuses options that do not go together, before anything is made."""
    packs = local.pack_size(options.pack) > 1
    if options.verify and packs:
        raise UsageError(
            f"--verify={options.verify} compares bits, and runs of a pack repeat to"
            " rounding: leave out one of --verify and --pack."
        )


def _work(options: Options) -> Callable[..., None]:
    """What trains the runs: here, or on a cluster."""
    if options.launcher == "local":
        return functools.partial(local.work, jobs=options.jobs, pack=options.pack)
    request = remote.Request(
        pack=options.pack,
        cpus=options.cpus,
        gpus=options.gpus,
        parameters=load.parameters(options.slurm),
    )
    launch = {"ray": remote.work_by_ray, "slurm": remote.work_by_slurm}
    return functools.partial(launch[options.launcher], request=request)


def _show_plan(planned: Plan, workdir: pathlib.Path) -> None:
    """The cells, and how long what is missing takes by a few steps of each."""
    compiled_programs.keep()
    fast.tune_cpu()
    missing = list(planned.runs)
    if (workdir / "study.json").exists():
        folder = Folder(workdir, planned)
        missing = [run for run in planned.runs if folder.outcome(run) is None]
    table, total = [["cell", "runs", "a run", "all"]], 0.0
    for cell in range(len(planned.cells)):
        runs = [run for run in missing if run.cell == cell]
        firsts = list({run.task: run for run in runs}.values())
        if not firsts:
            table.append([planned.label(cell), "0", tables.NOTHING, tables.NOTHING])
            continue
        log_line(f"times steps of {planned.label(cell)}")
        seconds = [
            trainer.estimate(planned.experiment, run.config, workdir) for run in firsts
        ]
        each, count = sum(seconds) / len(seconds), len(runs)
        total += each * count
        shown = [duration(each), duration(each * count)]
        table.append([planned.label(cell), str(count), *shown])
    grid("cells", table)
    log_line(
        f"{len(missing)} runs, about {duration(total)} of steps one after another,"
        " by three steps of each cell; starts, compilation and evaluations come on top"
    )


def _help() -> str:
    return f"{(__doc__ or '').strip()}\n\n{flags.describe(Options)}"


if __name__ == "__main__":
    main()
