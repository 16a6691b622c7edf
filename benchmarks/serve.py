"""Load on a server of the built-in model: clicks and phrases of many sessions, idle memory, bad requests, a soak.

    python benchmarks/serve.py [--model tiny] [--sessions 64] [--seconds 60] [--bad 60] [--soak 0]

Everything runs against a server that this script starts, on this machine alone, and ends by itself.
"""

import argparse
import asyncio
import json
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from serving import Running, running_server  # noqa: E402

from masklet.client import Client  # noqa: E402
from masklet.serve.schemas import FindBody, PhotoClickBody  # noqa: E402

PHOTO = ROOT / "src" / "masklet" / "assets" / "coins.jpg"
BAD = (
    ("GET", "/v1/images/none", None),
    ("POST", "/v1/segment", b"{"),
    ("POST", "/v1/segment", b'{"prompts": []}'),
    ("POST", "/predict", b"[]"),
    ("GET", "/v1/jobs/x/frames?after=z", None),
    ("DELETE", "/v1/sessions/..", None),
    ("POST", "/api/function_invocations", b"\xff\xfe"),
)


def memory_of(server: Running) -> float:
    """Resident memory of the server in MB; 0 where the system does not tell."""
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.is_file():
        return 0.0
    line = next(each for each in status.read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    if not seconds:
        return {"count": 0}
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"count": len(ordered), "p50_ms": round(1000 * statistics.median(ordered)), "p95_ms": round(1000 * p95)}


def click_alone(client: Client, runs: int = 30) -> dict[str, float]:
    """Clicks of one session that nobody disturbs, after the encoding."""
    key = client.open_image(PHOTO).id
    client.click(key, PhotoClickBody(points=[(50.0, 60.0)], labels=[1]))
    seconds = []
    for run in range(runs):
        began = time.perf_counter()
        client.click(key, PhotoClickBody(points=[(50.0 + run, 60.0 + run)], labels=[1]))
        seconds.append(time.perf_counter() - began)
    return spread(seconds)


def open_sessions(client: Client, count: int) -> list[str]:
    """Sessions, each asked once, so that each is encoded."""
    keys = [client.open_image(PHOTO).id for _ in range(count)]
    for key in keys:
        client.click(key, PhotoClickBody(points=[(50.0, 60.0)], labels=[1]))
    return keys


async def mixed_load(address: str, keys: list[str], seconds: float) -> dict[str, object]:
    """One user a session: seven clicks to each phrase, a second of thought between."""
    times: dict[str, list[float]] = {"click": [], "find": []}
    failed: dict[int, int] = {}
    end = time.perf_counter() + seconds
    async with httpx2.AsyncClient(base_url=address, timeout=120) as http:

        async def user(key: str, seed: int) -> None:
            rng = random.Random(seed)
            while time.perf_counter() < end:
                await asyncio.sleep(rng.uniform(0.5, 1.5))
                kind = "find" if rng.random() < 1 / 8 else "click"
                point = [rng.uniform(5, 370), rng.uniform(5, 290)]
                click = PhotoClickBody(points=[tuple(point)], labels=[1]).model_dump(mode="json")
                body = FindBody(phrases=["coin"]).model_dump(mode="json") if kind == "find" else click
                began = time.perf_counter()
                answer = await http.post(f"/v1/images/{key}/{kind}", json=body)
                times[kind].append(time.perf_counter() - began)
                if answer.status_code != 200:
                    failed[answer.status_code] = failed.get(answer.status_code, 0) + 1

        await asyncio.gather(*(user(key, seed) for seed, key in enumerate(keys)))
    return {kind: spread(found) for kind, found in times.items()} | {"failed": failed}


async def bad_requests(address: str, seconds: float, rate: int = 1000) -> dict[str, object]:
    """Nonsense at a rate; no answer may be a fault of the server."""
    codes: dict[int, int] = {}
    broken = 0
    end, sent = time.perf_counter() + seconds, 0
    began = time.perf_counter()
    limits = httpx2.Limits(max_connections=64)
    async with httpx2.AsyncClient(base_url=address, timeout=60, limits=limits) as http:

        async def one(number: int) -> None:
            nonlocal broken
            method, path, content = BAD[number % len(BAD)]
            try:
                answer = await http.request(method, path, content=content, headers={"content-type": "application/json"})
                codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
            except httpx2.HTTPError:
                broken += 1

        tasks: set[asyncio.Task[None]] = set()
        while time.perf_counter() < end:
            due = int((time.perf_counter() - began) * rate)
            while sent < due and len(tasks) < 256:
                task = asyncio.create_task(one(sent))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)
    return {"a_second": round(sent / seconds), "codes": codes, "broken": broken}


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--bad", type=float, default=60)
    parser.add_argument("--soak", type=float, default=0, help="seconds of mixed load, memory noted each minute")
    options = parser.parse_args()
    found: dict[str, object] = {"machine": platform.machine(), "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder), options.model) as server:
        client = Client(server.address)
        found["idle_mb"] = round(memory_of(server))
        found["click_alone"] = click_alone(client)
        keys = open_sessions(client, options.sessions)
        found["idle_sessions_mb"] = round(memory_of(server))
        found["mixed"] = asyncio.run(mixed_load(server.address, keys, options.seconds))
        found["after_mixed_mb"] = round(memory_of(server))
        found["bad"] = asyncio.run(bad_requests(server.address, options.bad))
        found["after_bad_mb"] = round(memory_of(server))
        soaked = []
        for _ in range(int(options.soak // 60)):
            asyncio.run(mixed_load(server.address, keys, 60))
            soaked.append(round(memory_of(server)))
        found["soak_mb"] = soaked
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
