"""A study on a Ray cluster of two nodes, one of which is killed."""

import functools
import os
import pathlib
import threading
import time

import pytest

from experiments.ablation import remote
from experiments.ablation.folder import Folder
from experiments.ablation.run import complete
from experiments.ablation.study import plan
from tests.experiments.ablation.test_work import FAULT, quick, times_trained

pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
ROOT = pathlib.Path(__file__).parents[3]


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_what_a_killed_node_had_runs_elsewhere(tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    planned = plan(quick(FAULT, seeds=2))
    folder = Folder(tmp_path, planned)

    def wait(holds):
        end = time.monotonic() + 60
        while time.monotonic() < end and not holds():
            time.sleep(0.05)

    def kill_a_node():
        wait(lambda: len(list(tmp_path.glob("runs/*/*/running"))) == 2)
        cluster.remove_node(other, allow_graceful=False)
        wait(lambda: 2 in times_trained(tmp_path).values())
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill_a_node)
    killer.start()
    work = functools.partial(remote.work_by_ray, request=remote.Request(cpus=1))
    rows = complete(planned, folder, work, title="")
    killer.join()
    cluster.shutdown()
    assert [row.validation.runs for row in rows] == [2, 2]
    assert sorted(times_trained(tmp_path).values()) == [1, 1, 1, 2]
