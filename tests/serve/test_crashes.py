"""kill -9 in the middle of work: what was acknowledged is there again."""

import signal
from pathlib import Path

import numpy as np
from serving import photo_bytes, running_server, write_clip

from masklet.client import Client
from masklet.ops.masks import rle_encode
from masklet.serve.schemas import DrawBody, RleMask, TrackBody, VideoClickBody


def test_a_killed_server_has_lost_nothing_that_it_acknowledged(base: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=40)
    mask = np.zeros((64, 96), bool)
    mask[5:25, 5:25] = True
    drawing = DrawBody(phrase="cup", mask=RleMask(size=(64, 96), counts=rle_encode(mask)))
    with running_server(tmp_path / "kept", str(base)) as server:
        client = Client(server.address)
        photo = client.open_image(photo_bytes()).id
        drawn = client.draw(photo, drawing)
        video = client.open_video(clip).id
        client.click_video(video, VideoClickBody(frame=0, box=(8.0, 20.0, 28.0, 40.0)))
        seen = []
        for row in client.frames(client.track(video).id):
            seen.append(row.frame)
            if len(seen) == 5:
                break
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(30)
    with running_server(tmp_path / "kept", str(base)) as server:
        client = Client(server.address)
        assert client.image(photo) == drawn
        kept = {each.index: each for each in client.results(video)}
        assert [kept[each.index] for each in seen if each] == seen
        assert client.video(video).objects == [0]
        rows = list(client.frames(client.track(video, TrackBody(start=len(kept), stop=len(kept) + 3)).id))
        assert rows[-1].job is not None
        assert (rows[-1].job.state, rows[-1].job.error) == ("done", None)
