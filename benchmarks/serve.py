"""Load on a server of the built-in model: clicks and phrases of many sessions, idle memory, bad requests, a soak.

    python benchmarks/serve.py --write load                               four minutes
    python benchmarks/serve.py --seconds 0 --bad 0 --soak 1800 --write soak   half an hour

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
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from serving import Running, running_server  # noqa: E402
from tables import put_table  # noqa: E402

from masklet.client import Client  # noqa: E402
from masklet.serve.schemas import FindBody, PhotoClickBody  # noqa: E402

PATIENCE = 60.0  # seconds that a user waits for an answer
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


def memory_of(server: Running) -> int:
    """Resident memory of the server in MB; 0 where the system does not tell."""
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.is_file():
        return 0
    line = next(each for each in status.read_text().splitlines() if each.startswith("VmRSS"))
    return round(int(line.split()[1]) * 1024 / 1e6)


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


async def mixed_load(address: str, keys: list[str], seconds: float, note: Callable[[], None]) -> dict[str, Any]:
    """One user a session: seven clicks to each phrase, a second of thought between. `note` is called each minute."""
    times: dict[str, list[float]] = {"click": [], "find": []}
    failed: dict[str, int] = {}
    end = time.perf_counter() + seconds

    async def user(http: httpx2.AsyncClient, key: str, seed: int) -> None:
        rng = random.Random(seed)
        while time.perf_counter() < end:
            await asyncio.sleep(rng.uniform(0.5, 1.5))
            kind = "find" if rng.random() < 1 / 8 else "click"
            point = [rng.uniform(5, 370), rng.uniform(5, 290)]
            click = PhotoClickBody(points=[tuple(point)], labels=[1]).model_dump(mode="json")
            body = FindBody(phrases=["coin"]).model_dump(mode="json") if kind == "find" else click
            began = time.perf_counter()
            try:
                code = str((await http.post(f"/v1/images/{key}/{kind}", json=body)).status_code)
            except httpx2.HTTPError as error:
                code = type(error).__name__
            times[kind].append(time.perf_counter() - began)
            if code != "200":
                failed[code] = failed.get(code, 0) + 1

    async def watch() -> None:
        while True:
            await asyncio.sleep(60)
            note()

    async with httpx2.AsyncClient(
        base_url=address, timeout=PATIENCE, limits=httpx2.Limits(max_connections=256)
    ) as http:
        watching = asyncio.create_task(watch())
        await asyncio.gather(*(user(http, key, seed) for seed, key in enumerate(keys)))
        watching.cancel()
    return {kind: spread(found) for kind, found in times.items()} | {"failed": failed}


async def bad_requests(address: str, seconds: float, rate: int = 1000, connections: int = 32) -> dict[str, Any]:
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
            request = requests[sent % len(requests)]
            try:
                if writer is None or reader is None:
                    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                writer.write(request)
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


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """All parts that were asked for; each is printed when it is there."""
    found: dict[str, Any] = {"machine": platform.machine(), "python": platform.python_version()}

    def tell(**part: Any) -> None:
        found.update(part)
        print(json.dumps(part), file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder), options.model) as server:
        client = Client(http=httpx2.Client(base_url=server.address, timeout=600))  # a busy machine may starve it
        tell(idle_mb=memory_of(server))
        tell(click_alone=click_alone(client))
        keys = open_sessions(client, options.sessions)
        time.sleep(6)  # the server looks after its memory every five seconds
        tell(idle_sessions_mb=memory_of(server))
        if options.seconds:
            tell(mixed=asyncio.run(mixed_load(server.address, keys, options.seconds, lambda: None)))
            tell(after_mixed_mb=memory_of(server))
        if options.bad:
            tell(bad=asyncio.run(bad_requests(server.address, options.bad, options.rate)))
            tell(after_bad_mb=memory_of(server))
        if options.soak:
            noted: list[int] = []
            soak = asyncio.run(mixed_load(server.address, keys, options.soak, lambda: noted.append(memory_of(server))))
            tell(soak=soak, soak_mb=[*noted, memory_of(server)])
    return found


def rows_of(found: dict[str, Any], options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """The figures as rows of a table: what, measured, aim."""

    def times(spread: dict[str, float]) -> str:
        return (
            f"p50 {spread['p50_ms']} ms, p95 {spread['p95_ms']} ms ({spread['count']})" if spread["count"] else "none"
        )

    count, alone = options.sessions, found["click_alone"]
    rows = [
        ("click, one session, after the encoding", times(alone), "p50 <= 150 ms"),
        ("server with the model, idle", f"{found['idle_mb']} MB", "<= 600 MB"),
        (f"with {count} idle sessions, all encoded once", f"{found['idle_sessions_mb']} MB", "64: <= 1,000 MB"),
    ]
    if mixed := found.get("mixed"):
        failed = ", ".join(f"{number} x {code}" for code, number in mixed["failed"].items()) or "none"
        rows += [
            (f"{count} users for {options.seconds:g} s, seven clicks to a phrase: click", times(mixed["click"]), ""),
            ("the same: phrase", times(mixed["find"]), ""),
            ("failed requests of those", failed, "none"),
            ("memory after them", f"{found['after_mixed_mb']} MB", ""),
        ]
    if bad := found.get("bad"):
        codes = ", ".join(f"{number} x {code}" for code, number in sorted(bad["codes"].items()))
        rows += [
            (f"bad requests, {bad['a_second']} a second for {options.bad:g} s", codes, "no 5xx"),
            ("connections that broke", str(bad["broken"]), "none"),
            ("memory after them", f"{found['after_bad_mb']} MB", "as before"),
        ]
    if soak := found.get("soak"):
        memory, failed = found["soak_mb"], ", ".join(soak["failed"]) or "none"
        rows += [
            (f"{count} users for {options.soak:g} s: click", times(soak["click"]), ""),
            ("the same: phrase", times(soak["find"]), ""),
            ("failed requests of those", failed, "none"),
            ("memory each minute: first, most, last", f"{memory[0]}, {max(memory)}, {memory[-1]} MB", "flat"),
        ]
    return rows


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="of mixed load; 0 leaves it out")
    parser.add_argument("--bad", type=float, default=60, help="seconds of bad requests; 0 leaves them out")
    parser.add_argument("--rate", type=int, default=1000, help="bad requests a second")
    parser.add_argument("--soak", type=float, default=0, help="seconds of mixed load, memory noted each minute")
    parser.add_argument("--write", metavar="TABLE", help="renew this table of benchmarks/serve.md: load or soak")
    options = parser.parse_args()
    found = measured(options)
    if options.write:
        put_table(
            Path(__file__).with_suffix(".md"), options.write, ("what", "measured", "aim"), rows_of(found, options)
        )
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
