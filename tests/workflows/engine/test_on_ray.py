"""The engine on a Ray cluster of two nodes, one of which dies at work: the same snapshot as of one process.

Skipped where Ray is not installed: pip install "masklet[ray]".
"""

import importlib.util
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from engine_world import ColourSegmenter, open_world, run_world, stages, write_photos

from masklet.engine.project.upkeep import verify_store
from masklet.engine.records import Fact
from masklet.engine.snapshots import take_snapshot
from masklet.errors import InputError
from masklet.workflows.engine.on_ray import Work, map_on_ray, run_on_ray

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason='Ray is not installed: pip install "masklet[ray]"')
PHOTOS = 30


class Slow(ColourSegmenter):
    """Slow enough for a node to die at work."""

    def open(self, image):
        time.sleep(0.1)
        return super().open(image)


def slow_stages(project):
    return stages(project, Slow())


def size_of(path: Path) -> int:
    return path.stat().st_size


@pytest.fixture(scope="module")
def cluster():
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=1)
    support = str(Path(__file__).parents[2] / "support")
    paths = os.pathsep.join([str(Path(__file__).parent), support, *sys.path])
    ray.init(
        address=found.address,
        runtime_env={"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}},
        log_to_driver=False,
    )
    found.wait_for_nodes()
    yield found
    ray.shutdown()
    found.shutdown()


@needs_ray
@pytest.mark.slow
def test_a_node_dies_and_the_snapshot_is_the_same(cluster, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", PHOTOS)
    alone = open_world(tmp_path / "alone", photos)
    run_world(alone)
    shared = open_world(tmp_path / "shared", photos)
    stages(shared, ColourSegmenter())
    run = Fact(table="run", values={"run_id": "on ray", "started_at": 0, "code": "", "config": ""})
    shared.view.ledger.add([run])

    def kill() -> None:
        while shared.view.ledger.count("maskset") < PHOTOS // 3:
            time.sleep(0.02)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    work = Work(
        open_project=partial(open_world, tmp_path / "shared", photos),
        open_stages=slow_stages,
        run_id="on ray",
        actors=2,
    )
    result = run_on_ray(work)
    killer.join()
    assert (result.finished, result.lost) == (2, 1)
    assert take_snapshot(shared.view).snapshot_id == take_snapshot(alone.view).snapshot_id
    for name in ("verdict", "maskset", "annotation", "event"):
        assert shared.view.ledger.count(name) == alone.view.ledger.count(name), name
    assert verify_store(shared.view) == []


@needs_ray
@pytest.mark.slow
def test_bulk_work_keeps_its_order(cluster, tmp_path: Path) -> None:
    del cluster
    paths = sorted(write_photos(tmp_path / "photos", 10).iterdir())
    assert map_on_ray(size_of, paths, batch=3) == [path.stat().st_size for path in paths]


def test_without_a_cluster_one_is_told_what_to_do(tmp_path: Path) -> None:
    if HAS_RAY:
        import ray

        if ray.is_initialized():
            pytest.skip("a cluster was joined")
    with pytest.raises(InputError, match="Ray cluster"):
        map_on_ray(size_of, [tmp_path])
