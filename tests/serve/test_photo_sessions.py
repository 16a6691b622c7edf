"""Photos over the network: find, click, draw, undo, export, and what stays after a restart."""

import io
import json
import shlex
import time
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save

from masklet.cli import main
from masklet.client import Client, ServerError
from masklet.errors import InputError
from masklet.inference.image.image_session import ImageSession
from masklet.ops.masks import deepest_point, rle_decode, rle_encode
from masklet.serve.app import create_app
from masklet.serve.schemas import (
    ClickPrompt2D,
    DrawBody,
    ExemplarBody,
    ExemplarPrompt,
    FindBody,
    ObjectsBody,
    PhotoClickBody,
    PhotoView,
    PhrasePrompt,
    QuestionPrompt,
    RleMask,
    VideoClickBody,
)
from masklet.serve.sessions.store import SessionStore
from masklet.serve.settings import Limits, ServeSettings

BOX = (10.0, 10.0, 30.0, 30.0)


def square(top: int, left: int, side: int, size: tuple[int, int] = (64, 96)) -> RleMask:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return RleMask(size=size, counts=rle_encode(mask))


def mask_of(view: PhotoView, place: int = -1) -> np.ndarray:
    return rle_decode(view.objects[place].mask.counts, *view.objects[place].mask.size)


def found(view: PhotoView) -> list[tuple[float, str]]:
    return [(each.score, each.mask.counts) for each in view.objects]


def let_go(store: SessionStore, *keys: str) -> None:
    """Until sessions have left memory: the server's own thread may be at it at the same time."""
    end = time.monotonic() + 60
    while any(store._works[key]._session is not None for key in keys):
        assert time.monotonic() < end
        store.relieve()
        time.sleep(0.01)


def test_each_prompt_is_answered_by_itself(client: Client, photo: bytes) -> None:
    prompts = [
        PhrasePrompt(text="square"),
        ExemplarPrompt(boxes=[(90.0, 0.0, 400.0, 20.0)]),
        ClickPrompt2D(points=[(20.0, 20.0)], labels=[1]),
        QuestionPrompt(text="the leftmost square"),
    ]
    answer = client.segment(photo, prompts, threshold=0.0)
    assert [each.index for each in answer.prompts] == [0, 1, 2, 3]
    assert [each.echo for each in answer.prompts] == prompts
    assert "not inside" in str(answer.prompts[1].error)
    assert answer.prompts[0].presence.keys() == {"square"}
    assert (answer.width, answer.height) == (96, 64)
    assert answer.prompts[3].explanation
    for instance in answer.prompts[0].instances:
        assert instance.mask.rle is not None
        assert rle_decode(instance.mask.rle.counts, 64, 96).sum() == instance.area


def test_json_and_multipart_give_the_same(http: TestClient, client: Client, photo: bytes) -> None:
    import base64

    prompts = [{"type": "phrase", "text": "square"}]
    body = {"image": "data:image/png;base64," + base64.b64encode(photo).decode(), "prompts": prompts, "threshold": 0}
    by_json = http.post("/v1/segment", json=body).json()
    by_form = client.segment(photo, [PhrasePrompt(text="square")], threshold=0.0)
    assert by_json["prompts"] == json.loads(by_form.model_dump_json())["prompts"]


@pytest.mark.parametrize("form", ["polygon", "png"])
def test_masks_come_in_other_forms(client: Client, photo: bytes, form: str) -> None:
    answer = client.segment(photo, [PhrasePrompt(text="square")], threshold=0.0, form=form)  # type: ignore[arg-type]
    for each in answer.prompts[0].instances:
        assert getattr(each.mask, form)
        assert each.mask.rle is None


def test_drawing_undoing_and_redoing(client: Client, photo: bytes) -> None:
    opened = client.open_image(photo)
    drawn = client.draw(opened.id, DrawBody(phrase="cup", mask=square(5, 5, 20)))
    assert drawn.objects[0].area == 400
    assert drawn.objects[0].box == (5.0, 5.0, 25.0, 25.0)
    assert client.undo(opened.id).objects == []
    again = client.redo(opened.id)
    assert again.objects == drawn.objects
    assert (again.can_undo, again.can_redo) == (True, False)
    assert again.version == drawn.version + 2


def test_objects_are_joined_parted_filled_and_deleted(client: Client, photo: bytes) -> None:
    key = client.open_image(photo).id
    client.draw(key, DrawBody(phrase="a", mask=square(0, 0, 10)))
    client.draw(key, DrawBody(phrase="a", mask=square(40, 40, 8)))
    merged = client.edit(key, ObjectsBody(action="merge", objects=[1, 2]))
    assert [each.area for each in merged.objects] == [164]
    parted = client.edit(key, ObjectsBody(action="split", objects=[1]))
    assert sorted(each.area for each in parted.objects) == [64, 100]
    ring = np.zeros((64, 96), bool)
    ring[5:15, 50:60], ring[8:12, 53:57] = True, False
    with_ring = client.draw(key, DrawBody(mask=RleMask(size=(64, 96), counts=rle_encode(ring))))
    filled = client.edit(key, ObjectsBody(action="fill_holes", objects=[with_ring.objects[-1].id]))
    assert filled.objects[-1].area == 100
    left = client.edit(key, ObjectsBody(action="delete", objects=[each.id for each in filled.objects]))
    assert left.objects == []


def test_what_a_person_made_stays_when_a_phrase_is_asked_again(client: Client, photo: bytes) -> None:
    key = client.open_image(photo).id
    drawn = client.draw(key, DrawBody(phrase="square", mask=square(5, 5, 20)))
    found = client.find(key, FindBody(phrases=["square"]))
    again = client.add_exemplar(key, ExemplarBody(phrase="square", box=BOX))
    for view in (found, again):
        assert drawn.objects[0] in view.objects
    assert again.concepts[0].boxes == [BOX]
    assert client.add_exemplar(key, ExemplarBody(phrase="square", box=BOX, positive=False)).concepts[0].not_boxes


def test_a_phrase_that_is_taken_away_goes_with_what_it_found(client: Client, photo: bytes) -> None:
    key = client.open_image(photo).id
    found = client.find(key, FindBody(phrases=["coin", "elephant"]))
    assert found.concepts
    client.click(key, PhotoClickBody(points=[(20.0, 30.0)], labels=[1]))
    after = client.forget(key, "coin")
    assert [each.phrase for each in after.concepts] == ["elephant"]
    assert not [each for each in after.objects if each.phrase == "coin"]
    assert [each.phrase for each in client.undo(key).concepts] == ["coin", "elephant"]


def test_clicks_of_an_object_add_up(client: Client, photo: bytes) -> None:
    key = client.open_image(photo).id
    first = client.click(key, PhotoClickBody(points=[(20.0, 20.0)], labels=[1], phrase="cup"))
    made = first.objects[-1]
    second = client.click(key, PhotoClickBody(object=made.id, points=[(70.0, 40.0)], labels=[0]))
    assert len(second.objects) == 1
    assert second.objects[0].points == [(20.0, 20.0), (70.0, 40.0)]
    assert second.objects[0].labels == [1, 0]
    assert client.undo(key).objects == first.objects


def test_a_painted_mask_is_redrawn_from_a_point_inside_of_it() -> None:
    ring = np.zeros((40, 60), bool)
    ring[5:15, 20:50] = True
    ring[5:35, 20:26] = True
    _, x, y = deepest_point(ring)
    assert ring[int(y), int(x)]
    assert 5 < y < 15
    assert 20 < x < 50
    ring[:] = False
    ring[39, 59] = True
    assert deepest_point(ring)[1:] == (59.5, 39.5)


def test_a_session_outlives_the_server(settings: ServeSettings, tmp_path: Path, photo: bytes) -> None:
    own = replace(settings, folder=tmp_path)
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        key = client.open_image(photo).id
        client.draw(key, DrawBody(phrase="cup", mask=square(5, 5, 20)))
        before = client.undo(key)
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        assert client.image(key) == before
        assert client.redo(key).objects[0].area == 400
        assert [row.id for row in client.sessions()] == [key]
        client.close_session(key)
        with pytest.raises(ServerError, match="no session"):
            client.image(key)
    assert not list((tmp_path / "sessions").iterdir())


def test_sessions_are_let_go_when_there_are_too_many_bytes(
    settings: ServeSettings, tmp_path: Path, photo: bytes
) -> None:
    own = replace(settings, folder=tmp_path, limits=Limits(memory_bytes=1))
    app = create_app(own)
    with TestClient(app, base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        keys = [client.open_image(photo).id for _ in range(3)]
        for key in keys:
            client.find(key, FindBody(phrases=["square"]))
        let_go(app.state.server.store, *keys)
        assert client.find(keys[0], FindBody(phrases=["square"])).concepts[0].phrase == "square"


def test_room_is_made_whenever_a_session_grows(settings: ServeSettings, tmp_path: Path, photo: bytes) -> None:
    """What lets sessions go every few seconds only would let many that are used at once take all memory."""
    app = create_app(replace(settings, folder=tmp_path))
    with TestClient(app, base_url="http://127.0.0.1") as http:
        client, store = Client(http=http), app.state.server.store
        keys = [client.open_image(photo).id for _ in range(8)]
        click = PhotoClickBody(points=[(20.0, 20.0)], labels=[1])
        client.click(keys[0], click)
        one = store._works[keys[0]].num_bytes
        store.limits = Limits(memory_bytes=3 * one, person_share=1.0)
        store.relieve = lambda: None  # what is done every few seconds is not done here
        for key in [*keys, *keys]:
            client.click(key, click)
            assert sum(each.num_bytes for each in store._works.values()) < 4.5 * one
        assert len(list(tmp_path.glob("sessions/*/encoding.pt"))) == len(keys)


def test_who_makes_room_looks_once_more_when_another_has_grown(
    settings: ServeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, looks = create_app(replace(settings, folder=tmp_path)).state.server.store, list[str]()

    def look(keep: str) -> None:
        looks.append(keep)
        if len(looks) == 1:
            store._make_room("another")  # as another thread does meanwhile

    monkeypatch.setattr(store, "_let_go_of_most", look)
    store._make_room("one")
    assert looks == ["one", "one"]  # what the other has just read is locked by it


def test_a_look_after_memory_that_fails_is_not_the_last_one(
    settings: ServeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masklet.serve.app.RELIEF_SECONDS", 0.01)
    app, looks = create_app(replace(settings, folder=tmp_path)), list[int]()

    def relieve() -> None:
        looks.append(len(looks))
        raise OSError("the disk is gone")

    monkeypatch.setattr(app.state.server.store, "relieve", relieve)
    with TestClient(app, base_url="http://127.0.0.1"):
        end = time.monotonic() + 30
        while len(looks) < 3:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.parametrize("is_clicked", [False, True])
def test_a_session_that_left_memory_goes_on_as_one_that_stayed(
    settings: ServeSettings, tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch, *, is_clicked: bool
) -> None:
    own = replace(settings, folder=tmp_path, limits=Limits(memory_bytes=1))
    click = PhotoClickBody(points=[(20.0, 20.0)], labels=[1])
    app = create_app(own)
    with TestClient(app, base_url="http://127.0.0.1") as http:
        client, store = Client(http=http), app.state.server.store
        key = client.open_image(photo).id
        if is_clicked:
            client.click(key, click)
        client.find(key, FindBody(phrases=["square"]))
        work = store._works[key]
        stayed = work.session
        let_go(store, key)
        model = app.state.server.host.get()
        monkeypatch.setattr(type(model), "encode", lambda *_: pytest.fail("it was encoded anew"))
        with work.lock:  # the server itself lets sessions go every few seconds
            taken_up = work.session
            assert taken_up is not stayed
            expected = ImageSession(model, stayed.pixels, features=model.encode_batch([stayed.pixels])[0])
            for phrase in ("square", "a red cup"):
                again, first = (each.find(phrase, threshold=0.0).detections for each in (taken_up, expected))
                assert len(first.scores)
                for name in ("scores", "boxes_xyxy", "mask_logits", "presence"):
                    assert torch.equal(getattr(again, name), getattr(first, name)), name
            assert torch.equal(*(each.click([(20, 20)], [1]).logits for each in (taken_up, expected)))


def test_an_encoding_on_disk_that_cannot_be_used_is_made_again(
    settings: ServeSettings, tmp_path: Path, photo: bytes
) -> None:
    app = create_app(replace(settings, folder=tmp_path, limits=Limits(memory_bytes=1)))
    with TestClient(app, base_url="http://127.0.0.1") as http:
        client, store = Client(http=http), app.state.server.store
        key = client.open_image(photo).id
        first = client.find(key, FindBody(phrases=["square"]))
        let_go(store, key)
        path = tmp_path / "sessions" / key / "encoding.pt"
        whole = path.read_bytes()
        for damaged in (whole[:1000], b"", b"nonsense", whole.replace(b"identity", b"identify")):
            path.write_bytes(damaged)
            assert found(client.find(key, FindBody(phrases=["square"]))) == found(first)
            let_go(store, key)
            assert len(path.read_bytes()) == len(whole)


def test_encodings_on_disk_are_bounded_and_count_for_nobody(
    settings: ServeSettings, tmp_path: Path, photo: bytes
) -> None:
    limits = Limits(memory_bytes=1, encoding_bytes=1, person_disk_bytes=100_000)
    app = create_app(replace(settings, folder=tmp_path, limits=limits))
    with TestClient(app, base_url="http://127.0.0.1") as http:
        client, store = Client(http=http), app.state.server.store
        key = client.open_image(photo).id
        first = client.find(key, FindBody(phrases=["square"]))
        work = store._works[key]
        work.release()
        [path] = tmp_path.glob("sessions/*/encoding.pt")
        assert path.stat().st_size > limits.person_disk_bytes
        other = client.open_image(photo).id
        client.find(other, FindBody(phrases=["square"]))
        let_go(store, key, other)
        store._drop_encodings()
        assert not list(tmp_path.glob("sessions/*/encoding.pt"))
        assert found(client.find(key, FindBody(phrases=["square"]))) == found(first)


def test_the_photo_that_a_person_works_on_stays_also_where_it_is_larger_than_their_share(
    settings: ServeSettings, tmp_path: Path, photo: bytes
) -> None:
    own = replace(settings, folder=tmp_path, limits=Limits(memory_bytes=10_000_000, person_share=0.001))
    app = create_app(own)
    with TestClient(app, base_url="http://127.0.0.1") as http:
        client, store = Client(http=http), app.state.server.store
        before, now = (client.open_image(photo).id for _ in range(2))
        for key in (before, now):
            client.find(key, FindBody(phrases=["square"]))
        let_go(store, before)
        assert store._works[now]._session is not None


def test_a_session_whose_history_is_damaged_can_be_removed(
    settings: ServeSettings, tmp_path: Path, photo: bytes
) -> None:
    with TestClient(create_app(replace(settings, folder=tmp_path)), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        key = client.open_image(photo).id
        client.draw(key, DrawBody(phrase="cup", mask=square(5, 5, 20)))
    (tmp_path / "sessions" / key / "history.json").write_text("{}")
    with TestClient(create_app(replace(settings, folder=tmp_path)), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        assert http.get(f"/v1/images/{key}").status_code == 404
        assert [each.id for each in client.sessions()] == [key]
        client.close_session(key)
        assert client.sessions() == []
        assert http.delete(f"/v1/sessions/{key}").status_code == 404


def test_what_cannot_be_saved_of_one_session_is_no_other_ones_affair(
    settings: ServeSettings, tmp_path: Path, photo: bytes, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(replace(settings, folder=tmp_path, limits=Limits(memory_bytes=1, person_share=1.0)))
    with TestClient(app, base_url="http://127.0.0.1") as http:
        client, store = Client(http=http), app.state.server.store
        video = client.open_video(clip).id
        client.click_video(video, VideoClickBody(frame=0, points=[(20.0, 30.0)], labels=[1]))
        work = store._works[video]

        def save() -> None:
            raise InputError("the disk is full")

        monkeypatch.setattr(work, "save", save)
        key, other = (client.open_image(photo).id for _ in range(2))
        for each in (key, other):
            assert client.click(each, PhotoClickBody(points=[(20.0, 20.0)], labels=[1])).objects
        assert work._session is not None  # it cannot be saved, so it is kept
        assert store._works[key]._session is None
        monkeypatch.undo()


def test_exports_hold_what_counts(client: Client, photo: bytes) -> None:
    key = client.open_image(photo).id
    client.draw(key, DrawBody(phrase="cup", mask=square(5, 5, 20)))
    hidden = client.draw(key, DrawBody(phrase="cup", mask=square(30, 30, 8)))
    client.edit(key, ObjectsBody(action="update", objects=[hidden.objects[-1].id], hidden=True))
    archive = zipfile.ZipFile(io.BytesIO(client.export_image(key, "coco,yolo,png,overlay,json,cvat,labelstudio,voc")))
    coco = json.loads(archive.read("upload.coco.json"))
    assert [(each["area"], each["category_id"]) for each in coco["annotations"]] == [(400, 1)]
    assert [each["name"] for each in coco["categories"]] == ["cup"]
    names = archive.namelist()
    for part in ("upload.overlay.png", "classes.txt", "cvat/", "labelstudio/", "voc/"):
        assert any(name.startswith(part) for name in names), part
    with pytest.raises(ServerError, match="unknown format nonsense"):
        client.export_image(key, "nonsense")


def test_the_script_makes_the_session_again(client: Client, photo: bytes) -> None:
    key = client.open_image(photo).id
    client.find(key, FindBody(phrases=["square"]))
    client.click(key, PhotoClickBody(points=[(20.0, 20.0)], labels=[1]))
    script = client.script(key)
    assert 'session.find("square", threshold=0.5)' in script.python
    assert "session.click([(20, 20)], [1])" in script.python
    assert script.command_line.startswith("masklet segment upload -p square --threshold 0.5 --model ")


def test_what_is_copied_runs_where_the_photo_lies(
    http: TestClient, client: Client, photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "-it's a photo.png"  # to a shell, and to a command, as awkward as names are
    key = http.post("/v1/images", files={"image": (name, photo)}).json()["id"]
    client.set_threshold(key, 0.1)
    client.find(key, FindBody(phrases=["square", '-a "disc"']))
    client.add_exemplar(key, ExemplarBody(phrase="cup", box=BOX))
    client.add_exemplar(key, ExemplarBody(phrase="cup", box=(50.5, 30.0, 80.0, 55.0), positive=False))
    client.ask(key, "the two leftmost squares")
    clicked = client.click(key, PhotoClickBody(points=[(20.0, 20.0)], labels=[1]))
    client.click(key, PhotoClickBody(points=[(60.0, 40.0)], labels=[1], box=(50.0, 30.0, 80.0, 55.0)))
    view = client.draw(key, DrawBody(mask=square(5, 5, 20)))
    script = client.script(key)
    (tmp_path / name).write_bytes(photo)
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(script.python, made)
    phrases = Counter(each.phrase for each in view.objects if each.source == "phrase")
    assert made["result"].counts() == {each: phrases[each] for each in ("square", '-a "disc"')}
    assert len(made["result_2"]) == phrases["cup"]
    assert len(made["answer"]) == sum(each.source == "query" for each in view.objects)
    assert np.array_equal(made["clicked"].mask(0), mask_of(clicked))
    assert "clicked_2" in made
    assert "# object" in script.python
    commands = script.command_line.splitlines()
    assert len(commands) == 3
    for place, line in enumerate(commands, start=1):
        words = shlex.split(line)
        assert words[0] == "masklet"
        assert main([*words[1:], "--device", "cpu"]) == 0, line
        assert len(list((tmp_path / ("out" if place == 1 else f"out-{place}")).rglob("*.png"))) == 1


def test_a_session_of_hand_drawn_masks_alone_is_a_program_too(client: Client, photo: bytes) -> None:
    key = client.open_image(photo).id
    compile(client.script(key).python, "script", "exec")
    client.draw(key, DrawBody(mask=square(5, 5, 20)))
    script = client.script(key)
    compile(script.python, "script", "exec")
    assert "# object 1 was drawn or corrected by hand" in script.python
    assert script.command_line == ""


def test_a_concept_with_examples_is_kept_and_found_on_another_photo(client: Client, photo: bytes) -> None:
    first = client.open_image(photo)
    with pytest.raises(ServerError, match="draw a box around one first"):
        client.keep_concept(first.id, "red square")
    own = client.add_exemplar(first.id, ExemplarBody(phrase="red square", box=(10, 10, 30, 30)))
    kept = client.keep_concept(first.id, "red square", "my square")
    assert (kept.name, kept.phrase) == ("my square", "red square")
    assert [each.id for each in client.concepts()] == [kept.id]
    second = client.open_image(photo)
    found = client.find_like(second.id, kept.id)
    [concept] = found.concepts
    assert (concept.phrase, concept.kept, concept.boxes) == ("my square", kept.id, [])
    # The same photo again: what the examples say there is what they said where they were drawn
    assert concept.presence == pytest.approx(own.concepts[0].presence, abs=1e-4)
    assert [each.score for each in found.objects] == pytest.approx([each.score for each in own.objects], abs=1e-4)
    with pytest.raises(ServerError, match="are on another photo"):
        client.add_exemplar(second.id, ExemplarBody(phrase="my square", box=(10, 10, 30, 30)))
    assert "on another photo" in client.script(second.id).python
    client.forget_concept(kept.id)
    with pytest.raises(ServerError):
        client.find_like(second.id, kept.id)


def test_a_kept_concept_of_another_model_is_refused(client: Client, photo: bytes, settings: ServeSettings) -> None:
    first = client.open_image(photo)
    client.add_exemplar(first.id, ExemplarBody(box=(10, 10, 30, 30)))
    kept = client.keep_concept(first.id)
    [path] = (settings.folder / "concepts").glob("*.safetensors")
    with safe_open(path, "pt") as file:
        tensors, card = {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["card"])  # noqa: SIM118
    path.write_bytes(save(tensors, {"card": json.dumps(card | {"identity": "another"})}))
    with pytest.raises(ServerError, match="are of another model"):
        client.find_like(first.id, kept.id)
    client.forget_concept(kept.id)


def test_what_is_found_where_a_person_drew_is_not_there_twice(client: Client, photo: bytes) -> None:
    work = client.open_image(photo)
    found = client.find(work.id, FindBody(phrases=["square"]))
    assert found.objects
    for each in found.objects:
        client.draw(work.id, DrawBody(object=each.id, phrase="square", mask=each.mask))
    again = client.find(work.id, FindBody(phrases=["square"]))
    assert [each.id for each in again.objects] == [each.id for each in found.objects]


def test_phrases_examples_and_questions_of_a_request_are_asked_in_one_pass(
    http: TestClient, client: Client, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = http.app.state.server.host.get()  # type: ignore[attr-defined]
    detector, passes = model.detector, list[int]()
    ground = detector.ground
    monkeypatch.setattr(detector, "ground", lambda *given: passes.append(len(given[2].phrase_index)) or ground(*given))
    prompts = [
        PhrasePrompt(text="square"),
        PhrasePrompt(text="square", boxes=[BOX]),
        ExemplarPrompt(boxes=[(90.0, 0.0, 400.0, 20.0)]),
        PhrasePrompt(text="cup"),
        QuestionPrompt(text="the leftmost square beside a cup"),
        QuestionPrompt(text="the the"),
        QuestionPrompt(text="the largest square"),
    ]
    # In bfloat16 sums depend on what is in the batch
    near_presence, near_score = (1e-4, 1e-3) if model.dtype == torch.float32 else (5e-3, 5e-3)
    together = client.segment(photo, prompts, threshold=0.0).prompts
    assert passes == [6]  # those that cannot be used are not asked
    assert together[5].error
    for place in (0, 1, 3, 4, 6):
        [alone] = client.segment(photo, [prompts[place]], threshold=0.0).prompts
        assert together[place].presence == pytest.approx(alone.presence, abs=near_presence)
        scores = [each.score for each in alone.instances]
        assert [each.score for each in together[place].instances] == pytest.approx(scores, abs=near_score)
        assert together[place].explanation == alone.explanation


def test_a_large_photo_comes_in_tiles(http: TestClient, client: Client) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1100, 1300, 3), dtype=np.uint8)
    pixels[600:, 1100:] = (250, 10, 10)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    key = client.open_image(file.getvalue()).id

    def tile(level: int, column: int, row: int) -> np.ndarray:
        answer = http.get(f"/v1/images/{key}/tiles/{level}/{column}/{row}")
        assert answer.status_code == 200
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    assert tile(0, 0, 0).shape == (512, 512, 3)
    assert tile(0, 2, 2).shape == (76, 276, 3)
    assert np.abs(tile(0, 2, 2)[-40:, -100:].astype(int) - (250, 10, 10)).max() < 12
    assert tile(1, 1, 1).shape == (38, 138, 3)
    assert tile(2, 0, 0).shape == (275, 325, 3)  # the last level is one tile
    assert http.get(f"/v1/images/{key}/tiles/3/0/0").status_code == 404
    assert http.get(f"/v1/images/{key}/tiles/0/3/0").status_code == 404


def test_the_bytes_of_a_session_count_what_clicks_need(http: TestClient, client: Client, photo: bytes) -> None:
    key = client.open_image(photo).id
    client.find(key, FindBody(phrases=["square"]))
    work = http.app.state.server.store._works[key]  # type: ignore[attr-defined]
    before = work.num_bytes - work.session.features.trunk.nbytes  # which the first click lets go
    client.click(key, PhotoClickBody(points=[(20.0, 20.0)], labels=[1]))
    sizes: list[int] = []
    work.session._click_features.map(lambda tensor: sizes.append(tensor.nbytes) or tensor)
    assert sum(sizes) > 0
    assert work.num_bytes >= before + sum(sizes)
    work.release()
    assert work.num_bytes < before
