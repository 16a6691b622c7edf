"""Videos over the network: prompts, a job whose frames stream, cancelling, versions, restarts."""

import io
import json
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from serving import photo_bytes, write_clip

from masklet.client import Client, ServerError
from masklet.serve.app import create_app
from masklet.serve.schemas import TrackBody, VideoClickBody, VideoConceptBody
from masklet.serve.sessions.track_run import TrackingJob
from masklet.serve.settings import Limits, ServeSettings

CLICK = VideoClickBody(frame=0, box=(8.0, 20.0, 28.0, 40.0))


def opened(client: Client, clip: Path) -> str:
    key = client.open_video(clip).id
    client.click_video(key, CLICK)
    return key


def test_frames_stream_and_are_kept(client: Client, clip: Path) -> None:
    key = client.open_video(clip).id
    before = client.video(key)
    assert (before.width, before.height, before.frames_total, before.job) == (96, 64, 12, None)
    shown = client.click_video(key, CLICK)
    assert (shown.index, shown.size) == (0, (64, 96))
    job = client.track(key)
    rows = list(client.frames(job.id))
    assert [row.seq for row in rows] == list(range(13))
    assert rows[-1].job is not None
    assert (rows[-1].job.state, rows[-1].job.done) == ("done", 12)
    assert [row.frame.index for row in rows[:-1] if row.frame] == list(range(12))
    resumed = list(client.frames(job.id, after=9))
    assert resumed == rows[10:]
    assert [each.index for each in client.results(key, 3, 4)] == [3, 4, 5, 6]
    after = client.video(key)
    assert after.frames == list(range(12))
    assert [(mark.kind, mark.frame) for mark in after.marks] == [("click", 0)]
    archive = zipfile.ZipFile(io.BytesIO(client.export_video(key, "json,ytvis,mot,masks")))
    assert {"results.jsonl", "ytvis.json", "mot.txt"} <= set(archive.namelist())
    assert client.frame(key, 3)[:2] == b"\xff\xd8"


def test_a_concept_that_is_taken_away_goes_with_its_objects(client: Client, clip: Path) -> None:
    key = opened(client, clip)
    clicked = client.video(key).objects
    client.add_concept(key, VideoConceptBody(frame=0, phrase="coin"))
    assert client.video(key).concepts == ["coin"]
    after = client.forget_in_video(key, "coin")
    assert after.concepts == []
    assert after.objects == clicked


def test_a_cancelled_job_keeps_its_frames_and_a_correction_makes_a_version(client: Client, clip: Path) -> None:
    key = opened(client, clip)
    list(client.frames(client.track(key, TrackBody(stop=6)).id))
    first = client.results(key)
    number = client.video(key).objects[0]
    client.click_video(key, VideoClickBody(object=number, frame=2, points=[(26.0, 30.0)], labels=[1]))
    assert client.video(key).stale == [0, 1, 3, 4, 5]
    list(client.frames(client.track(key, TrackBody(start=2)).id))
    now = client.video(key)
    assert now.versions == 1
    assert now.frames == list(range(12))
    back = client.restore_version(key, 1)
    assert back.versions == 2
    kept = {each.index: each for each in client.results(key)}
    assert {index for index in kept if index not in range(6)} == set()
    assert all(kept[each.index] == each for each in first if each.index != 2)


def test_prompts_wait_for_a_job_to_be_cancelled(client: Client, http: TestClient, clip: Path) -> None:
    key = opened(client, clip)
    work = http.app.state.server.store._works[key]  # type: ignore[attr-defined]
    with work.host.lane.turn():  # the job stands before its first frame
        frames = iter(())
        gate = threading.Event()
        work.job = TrackingJob(key, frames, lambda: work.host.lane.turn(1), lambda _: None, 30.0).start(gate.set)
        with pytest.raises(ServerError, match="cancel it first") as caught:
            client.click_video(key, CLICK)
        assert caught.value.status == 409
    assert gate.wait(20)
    assert client.cancel(work.job.key).state in ("done", "cancelled")


def test_a_job_that_nobody_reads_is_cancelled(settings: ServeSettings, tmp_path: Path, clip: Path) -> None:
    own = replace(settings, folder=tmp_path, limits=Limits(grace_seconds=0))
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        key = opened(client, clip)
        job = client.track(key)
        for _ in range(200):
            if client.job(job.id).state != "running":
                break
            time.sleep(0.05)
        assert client.job(job.id).state == "cancelled"
        assert len(client.results(key)) >= 1


def test_a_session_goes_on_after_a_restart(settings: ServeSettings, tmp_path: Path, clip: Path) -> None:
    own = replace(settings, folder=tmp_path)
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        key = opened(client, clip)
        list(client.frames(client.track(key, TrackBody(stop=4)).id))
        before, results = client.video(key), client.results(key)
    journal = tmp_path / "sessions" / key / "journal.jsonl"
    journal.write_text(journal.read_text() + '{"index": 4, "time"')  # a line that a crash has cut
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        assert client.results(key) == results
        after = client.video(key)
        assert (after.frames, after.marks, after.objects) == (before.frames, before.marks, before.objects)
        rows = list(client.frames(client.track(key, TrackBody(start=4)).id))
        assert [row.frame.index for row in rows if row.frame] == list(range(4, 12))


def test_a_playlist_that_calls_itself_a_video_is_refused(client: Client) -> None:
    playlist = b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"
    with pytest.raises(ServerError, match="is no video of a kind") as caught:
        client.open_video(playlist, "clip.mp4")
    assert caught.value.status == 400


def test_the_journal_of_a_run_is_json_a_line(settings: ServeSettings, client: Client, clip: Path) -> None:
    key = opened(client, clip)
    list(client.frames(client.track(key, TrackBody(stop=3)).id))
    lines = (settings.folder / "sessions" / key / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2]


def test_a_live_stream_is_followed_as_its_frames_come(client: Client) -> None:
    key = client.open_live()
    assert client.push(key, photo_bytes()) is not None
    client.click_live(key, CLICK)
    results = [client.push(key, photo_bytes()) for _ in range(3)]
    assert [each.index for each in results if each] == [1, 2, 3]
    with pytest.raises(ServerError, match="is not there"):
        client.click_live(key, VideoClickBody(frame=99, points=[(1.0, 1.0)], labels=[1]))
    client.close_live(key)
    with pytest.raises(ServerError, match="no live stream"):
        client.push(key, photo_bytes())


def test_tracking_around_a_correction_goes_both_ways_and_leaves_nothing_stale(
    settings: ServeSettings, tmp_path: Path
) -> None:
    long = write_clip(tmp_path / "long.mp4", frames=40)
    with TestClient(create_app(replace(settings, folder=tmp_path)), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        key = opened(client, long)
        list(client.frames(client.track(key).id))
        number = client.video(key).objects[0]
        # far from the object: what comes out is as it was
        client.click_video(key, VideoClickBody(object=number, frame=20, points=[(90.0, 30.0)], labels=[0]))
        work = http.app.state.server.store._works[key]  # type: ignore[attr-defined]
        assert work.state.stale == tuple(each for each in range(40) if each != 20)
        before = dict(work.results)
        rows = [row.frame.index for row in client.frames(client.track(key, around(20)).id) if row.frame]
        ahead, behind = [each for each in rows if each >= 20], [each for each in rows if each < 20]
        assert rows == ahead + behind
        assert ahead == list(range(20, 20 + len(ahead)))
        assert behind == list(range(19, 19 - len(behind), -1))
        assert len(ahead) < 20  # it ended where nothing changed any more
        assert not client.video(key).stale
        assert client.video(key).versions == 1
        untouched = set(before) - set(rows)
        assert {index: work.results[index] for index in untouched} == {index: before[index] for index in untouched}


def around(frame: int) -> TrackBody:
    return TrackBody(direction="both", start=frame, until_stable=True)
