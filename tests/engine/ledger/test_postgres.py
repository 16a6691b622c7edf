"""The same engine on PostgreSQL: a real server that the test starts, many workers, the same snapshot.

Skipped where Debian's `postgresql` is not installed; `.ci/run` installs it.
"""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_world import open_world, run_world, write_photos

from masklet.engine.ledger.tables import TABLES
from masklet.engine.project.upkeep import verify_store
from masklet.engine.snapshots import take_snapshot

BINARIES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
pytestmark = pytest.mark.skipif(not BINARIES, reason="PostgreSQL is not installed: apt-get install postgresql")
WORKERS = 16
WORKER = """
import sys
from pathlib import Path
from engine_world import open_world, run_world
folder, photos, address, name = sys.argv[1:]
run_world(open_world(Path(folder), Path(photos), place=address), run_id=name, owner=name)
"""


def as_server(*command: str | Path) -> None:
    """Runs a command of the server, which refuses to run as root."""
    user = {"user": "postgres"} if os.getuid() == 0 else {}
    subprocess.run([str(each) for each in command], check=True, capture_output=True, timeout=120, cwd="/", **user)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server on this machine, with an empty database."""
    folder = Path("/tmp") / f"masklet-postgres-{os.getpid()}"
    folder.mkdir(mode=0o700)
    if os.getuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binaries = Path(BINARIES[-1])
    try:
        as_server(binaries / "initdb", "-D", folder / "data", "-A", "trust", "-U", "masklet", "-E", "UTF8")
        options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off -c max_connections=200"
        as_server(binaries / "pg_ctl", "-D", folder / "data", "-o", options, "-l", folder / "log", "-w", "start")
        yield f"postgresql+psycopg://masklet@127.0.0.1:{port}/postgres"
        as_server(binaries / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_many_workers_on_two_hosts_complete_each_unit_once(address: str, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 30)
    alone = open_world(tmp_path / "alone", photos)
    run_world(alone)
    # Processes on two hosts see one place of blobs; what they hold of it is checked by its names
    paths = os.pathsep.join([str(Path(__file__).parents[2] / "support"), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "shared"), str(photos), address, f"host {n % 2} worker {n}"],
            env=environment,
        )
        for n in range(WORKERS)
    ]
    assert [worker.wait(timeout=500) for worker in workers] == [0] * WORKERS
    shared = open_world(tmp_path / "shared", photos, place=address)
    assert take_snapshot(shared.view).snapshot_id == take_snapshot(alone.view).snapshot_id
    for name in set(TABLES) - {"run", "meta"}:
        assert shared.view.ledger.count(name) == alone.view.ledger.count(name), name
    assert verify_store(shared.view) == []
    shared.view.ledger.close()
