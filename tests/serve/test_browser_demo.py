"""The page as a folder of static files: what answers it is put in by `setTransport`, and no server is asked."""

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from browsing import ROOT, expect, keep, launched, open_coins, opened

from masklet.ops.masks import rle_encode

WEB = ROOT / "web"
if not (WEB / "node_modules").is_dir() or shutil.which("npx") is None:
    pytest.skip("no node: npm ci --prefix web", allow_module_level=True)

HTML = '<!doctype html><body><div id="app"></div><script type="module" src="./demo.ts"></script></body>'
DEMO = """
import { setTransport } from '%(web)s/src/api'
const photo = %(photo)s, answers: Record<string, unknown> = %(answers)s
let file: Blob
setTransport(async (path, options) => {
  if (path === '/v1/images') file = (options.body as FormData).get('image') as Blob
  if (path.endsWith('/file')) return new Response(file)
  if (path.endsWith('/find')) return Response.json({ ...photo, version: 1, ...answers.found as object })
  return Response.json(path.startsWith('/v1/images') ? photo : answers[path])
})
await import('%(web)s/src/main')
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder on a server that knows nothing but files."""
    folder = tmp_path_factory.mktemp("demo")
    mask = np.zeros((303, 384), bool)
    mask[40:80, 30:70] = True
    thing = {"id": 1, "phrase": "coin", "score": 0.9, "box": [30, 40, 70, 80], "area": 1600, "source": "phrase"}
    thing |= {"mask": {"size": [303, 384], "counts": rle_encode(mask)}, "hidden": False, "locked": False}
    concept = {"phrase": "coin", "presence": 0.97, "kept": "", "boxes": [], "not_boxes": [], "explanation": []}
    photo = {"id": "a", "name": "coins.jpg", "version": 0, "width": 384, "height": 303, "threshold": 0.5, "task": None}
    photo |= {"concepts": [], "objects": [], "can_undo": False, "can_redo": False}
    info = {
        "version": "0",
        "model": "in the browser",
        "state": "ready",
        "person": "",
        "role": "lead",
        "has_project": False,
    }
    answers = {
        "/v1/server": info | {"image_formats": ["coco"], "video_formats": []},
        "/v1/sessions": [],
        "/v1/concepts": [],
        "found": {"concepts": [concept], "objects": [thing | {"points": [], "labels": []}]},
    }
    (folder / "index.html").write_text(HTML)
    (folder / "demo.ts").write_text(DEMO % {"web": WEB, "photo": json.dumps(photo), "answers": json.dumps(answers)})
    command = [
        "npx",
        "vite",
        "build",
        str(folder),
        "--base",
        "./",
        "--outDir",
        str(folder / "out"),
        "--logLevel",
        "error",
    ]
    subprocess.run(command, cwd=WEB, check=True, timeout=600)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder / "out"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_photo_and_a_phrase_need_no_server_and_no_upload(address: str) -> None:
    with launched() as browser, opened(browser, address) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        open_coins(page)
        page.fill("#phrase", "coin")
        page.keyboard.press("Enter")
        expect(page.locator(".objects li")).to_have_count(1)
        expect(page.locator(".chips .chip")).to_contain_text("97 %")
        expect(page.locator(".viewer[data-drawn='1']")).to_be_visible()
        keep(page, "page-demo")
        assert not [each for each in asked if "/v1/" in each]
