"""Load on a server of the built-in model: clicks and phrases of many sessions, idle memory, bad requests, a soak.

    python benchmarks/serve.py [--model tiny] [--sessions 64] [--seconds 60] [--bad 60] [--rate 1000] [--soak 0]

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
from urllib.parse import urlsplit

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
                try:
                    code = (await http.post(f"/v1/images/{key}/{kind}", json=body)).status_code
                except httpx2.HTTPError:
                    code = 0  # not answered in two minutes
                times[kind].append(time.perf_counter() - began)
                if code != 200:
                    failed[code] = failed.get(code, 0) + 1

        await asyncio.gather(*(user(key, seed) for seed, key in enumerate(keys)))
    return {kind: spread(found) for kind, found in times.items()} | {"failed": failed}


async def bad_requests(address: str, seconds: float, rate: int = 1000, connections: int = 32) -> dict[str, object]:
    """Nonsense at a rate; no answer may be a fault of the server.

    Plain sockets, one request at a time each: a client library would be the slower side.
    """
    parts = urlsplit(address)
    requests = [_raw(parts.netloc, *each) for each in BAD]
    codes: dict[int, int] = {}
    broken, sent = 0, 0
    began = time.perf_counter()

    async def user() -> None:
        nonlocal broken, sent
        reader, writer = None, None
        while (now := time.perf_counter() - began) < seconds:
            if sent >= now * rate:
                await asyncio.sleep(0.002)
                continue
            sent += 1
            try:
                if writer is None or reader is None:
                    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                writer.write(requests[sent % len(requests)])
                code, stays = await _read_answer(reader)
                codes[code] = codes.get(code, 0) + 1
                if not stays:
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError):
                broken += 1
                writer = None

    await asyncio.gather(*(user() for _ in range(connections)))
    return {"a_second": round(sent / seconds), "codes": codes, "broken": broken}


def _raw(host: str, method: str, path: str, content: bytes | None) -> bytes:
    body = content or b""
    fields = (f"host: {host}", "content-type: application/json", f"content-length: {len(body)}")
    return "\r\n".join((f"{method} {path} HTTP/1.1", *fields, "", "")).encode() + body


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status of an answer, and whether its connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.partition(b":")[2]))
    return int(head.split()[1]), b"connection: close" not in head


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--bad", type=float, default=60)
    parser.add_argument("--rate", type=int, default=1000, help="bad requests a second")
    parser.add_argument("--soak", type=float, default=0, help="seconds of mixed load, memory noted each minute")
    options = parser.parse_args()
    found: dict[str, object] = {"machine": platform.machine(), "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder), options.model) as server:
        client = Client(server.address)
        found["idle_mb"] = round(memory_of(server))
        found["click_alone"] = click_alone(client)
        keys = open_sessions(client, options.sessions)
        found["idle_sessions_mb"] = round(memory_of(server))
        print(json.dumps(found), file=sys.stderr, flush=True)
        found["mixed"] = asyncio.run(mixed_load(server.address, keys, options.seconds))
        found["after_mixed_mb"] = round(memory_of(server))
        found["bad"] = asyncio.run(bad_requests(server.address, options.bad, options.rate))
        found["after_bad_mb"] = round(memory_of(server))
        soaked = []
        for _ in range(int(options.soak // 60)):
            asyncio.run(mixed_load(server.address, keys, 60))
            soaked.append(round(memory_of(server)))
        found["soak_mb"] = soaked
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
