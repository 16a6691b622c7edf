"""All sessions of a server: found by id and owner, counted in bytes, let go when idle, taken up again from disk."""

import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from masklet.errors import InputError
from masklet.files import cannot_write
from masklet.media.video_source import open_frames
from masklet.serve.guard import LOCAL_PERSON
from masklet.serve.model_host import ModelHost
from masklet.serve.problems import HttpProblem, not_found
from masklet.serve.schemas import SessionRow
from masklet.serve.sessions.about import CARD, About, read_about, shown_name, write_about
from masklet.serve.sessions.allocator import return_memory
from masklet.serve.sessions.photo_work import ENCODING, IMAGE, TASK, PhotoWork
from masklet.serve.sessions.track_run import TrackingJob
from masklet.serve.sessions.video_work import VideoWork
from masklet.serve.settings import LEAST_MEMORY, Person, ServeSettings
from masklet.serve.telemetry import LOG, Telemetry
from masklet.serve.uploads import VIDEO_SUFFIXES, ImageDecoder, check_frame, is_video

Work = PhotoWork | VideoWork
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_CHUNK = 2**20


class SessionStore:
    """The sessions below a folder. An id is random; a path is made of nothing else that a client gives."""

    def __init__(self, settings: ServeSettings, host: ModelHost, decoder: ImageDecoder, telemetry: Telemetry) -> None:
        self.folder, self.limits = settings.folder / "sessions", settings.limits
        self.host, self.decoder, self.telemetry = host, decoder, telemetry
        self._works: dict[str, Work] = {}
        self._owners: dict[str, str] = {}
        self._lock = threading.Lock()
        self._making_room = threading.Lock()
        self._has_grown = self._has_let_go = False

    # --- opening --------------------------------------------------------------------------------------------------

    def add_photo(self, data: bytes, name: str | None, person: Person) -> PhotoWork:
        """A session on an image. Raises: InputError, HttpProblem (413, 507)."""
        pixels = self.decoder.read(data)
        size = (pixels.shape[0], pixels.shape[1])
        about = About(kind="photo", name=shown_name(name, "photo.png"), owner=person.name, size=size)
        folder = self._new_folder(person, len(data))
        _fill(folder, about, lambda: _write_new(folder / IMAGE, data))
        work = PhotoWork(folder, about, self.host, self.decoder.read, self._make_room)
        self._begin(work, about)
        return work

    def add_video(self, file: BinaryIO, name: str | None, person: Person) -> VideoWork:
        """A session on a video. Raises: InputError, HttpProblem (413, 507)."""
        shown = shown_name(name, "video.mp4")
        suffix = Path(shown).suffix.lower()
        if suffix not in VIDEO_SUFFIXES:
            raise InputError(f"{shown} is no video by its name: expected one of {', '.join(sorted(VIDEO_SUFFIXES))}")
        folder = self._new_folder(person, 0)
        path = folder / f"video{suffix}"
        try:
            with path.open("xb") as target:
                shutil.copyfileobj(file, target, _CHUNK)
            self._check_disk(person, path.stat().st_size)
            if not is_video(path):
                raise InputError(
                    f"{shown} is no video of a kind that is read here: MP4, MOV, MKV, WebM, AVI, MPEG or GIF"
                )
            source = open_frames(path)
            size = source.size
            source.close()
            check_frame(size, self.limits)
        except (InputError, HttpProblem) as error:
            shutil.rmtree(folder, ignore_errors=True)
            message = str(error).replace(str(path), shown)
            raise error if isinstance(error, HttpProblem) else InputError(message) from error
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise HttpProblem(507, str(cannot_write(path, error)).replace(str(path), shown)) from error
        about = About(kind="video", name=shown, owner=person.name, size=size)
        _fill(folder, about, lambda: None)
        work = VideoWork(folder, about, self.host, self.limits.grace_seconds)
        self._begin(work, about)
        return work

    def _begin(self, work: "Work", about: About) -> None:
        key = work.folder.name
        with self._lock:
            self._works[key], self._owners[key] = work, about.owner
        self._make_room(key)

    def _make(self, folder: Path, about: About) -> "Work":
        if about.kind == "photo":
            return PhotoWork(folder, about, self.host, self.decoder.read, self._make_room)
        return VideoWork(folder, about, self.host, self.limits.grace_seconds)

    # --- finding --------------------------------------------------------------------------------------------------

    def photo(self, key: str, person: Person) -> PhotoWork:
        """A photo session. Raises: HttpProblem (404) when it is not there, or somebody else's."""
        work = self._find(key, person)
        if not isinstance(work, PhotoWork):
            raise not_found("photo")
        return work

    def video(self, key: str, person: Person) -> VideoWork:
        """A video session. Raises: HttpProblem (404) when it is not there, or somebody else's."""
        work = self._find(key, person)
        if not isinstance(work, VideoWork):
            raise not_found("video")
        return work

    def job(self, key: str, person: Person) -> TrackingJob:
        """A job of a video of that person. Raises: HttpProblem (404)."""
        for name, work in list(self._works.items()):
            if isinstance(work, VideoWork) and work.job is not None and work.job.key == key:
                self._find(name, person)
                return work.job
        raise not_found("job")

    def rows(self, person: Person) -> list[SessionRow]:
        """Sessions of a person, the latest first; a lead sees all."""
        found = []
        for card in self.folder.glob(f"*/{CARD}"):
            try:
                about = read_about(card.parent)
            except (OSError, ValueError):
                continue
            if _may_see(about.owner, person):
                work = self._works.get(card.parent.name)
                used = work.used if work else card.stat().st_mtime
                row = SessionRow(id=card.parent.name, kind=about.kind, name=about.name, owner=about.owner, used=used)
                found.append(row)
        return sorted(found, key=lambda row: -row.used)[:200]

    def tasks(self) -> Iterator[PhotoWork]:
        """Photo sessions that are work for a project, of everybody."""
        for card in self.folder.glob(f"*/{TASK}"):
            with suppress(HttpProblem):  # it is being removed
                work = self._find(card.parent.name, LOCAL_PERSON, touch=False)
                if isinstance(work, PhotoWork):
                    yield work

    def remove(self, key: str, person: Person) -> None:
        """Ends a session and deletes what is kept of it, damaged or not. Raises: HttpProblem (404)."""
        try:
            work = self._find(key, person)
        except HttpProblem:
            self._remove_damaged(key, person)
            return
        if isinstance(work, VideoWork) and work.job is not None:
            work.job.cancel()
            work.job.join(30)
        with self._lock:
            self._works.pop(key, None)
            self._owners.pop(key, None)
        work.release()
        shutil.rmtree(work.folder, ignore_errors=True)

    def _remove_damaged(self, key: str, person: Person) -> None:
        folder = self.folder / key
        try:
            is_theirs = _ID.fullmatch(key) and _may_see(read_about(folder).owner, person)
        except (OSError, ValueError, KeyError):
            is_theirs = False
        if not is_theirs:
            raise not_found("session")
        shutil.rmtree(folder, ignore_errors=True)

    def _find(self, key: str, person: Person, *, touch: bool = True) -> "Work":
        if not _ID.fullmatch(key):
            raise not_found("session")
        with self._lock:
            work = self._works.get(key)
            if work is None:
                folder = self.folder / key
                try:
                    about = read_about(folder)
                    work = self._make(folder, about)
                except (OSError, ValueError, KeyError) as error:
                    raise not_found("session") from error
                self._works[key], self._owners[key] = work, about.owner
            owner = self._owners[key]
        if not _may_see(owner, person):
            raise not_found("session")
        if touch:
            work.used = time.time()
        return work

    # --- room -----------------------------------------------------------------------------------------------------

    def relieve(self) -> None:
        """Lets go of sessions that are idle or too many, and tidies up after them; to be called now and then."""
        self._make_room("")
        if self._has_let_go:
            self._has_let_go = False
            self._drop_encodings()
            return_memory()
        sizes = [work.num_bytes for work in list(self._works.values())]
        self.telemetry.sessions.set(len(sizes))
        self.telemetry.session_bytes.set(sum(sizes))
        self.telemetry.waiting.set(self.host.num_waiting)

    def _make_room(self, keep: str) -> None:
        """Lets go of sessions that are idle, and of the longest unused ones while there are too many bytes.

        Called whenever a photo has been read or encoded, that of `keep`: many at once would take all memory before
        the next look. Where another thread makes room already, it looks once more.
        """
        self._has_grown = True
        while self._has_grown and self._making_room.acquire(blocking=False):
            try:
                self._has_grown = False
                self._let_go_of_most(keep)
            finally:
                self._making_room.release()

    def _let_go_of_most(self, keep: str) -> None:
        now, total, by_owner = time.time(), 0, dict[str, int]()
        most = self.limits.memory_bytes
        most = max(LEAST_MEMORY, self.host.num_bytes) if most is None else most
        most_of_one = most * self.limits.person_share
        sizes = {key: work.num_bytes for key, work in list(self._works.items())}
        owners = {key: self._owners.get(key, "") for key in sizes}
        for key, size in sizes.items():
            total += size
            by_owner[owners[key]] = by_owner.get(owners[key], 0) + size
        used = {key: work.used for key, work in list(self._works.items())}
        order = sorted(sizes, key=lambda key: used.get(key, 0.0))
        latest = {owners[key]: key for key in order}  # one photo may be larger than a person's share
        for key in order:
            work, owner = self._works.get(key), owners[key]
            if work is None or key == keep or (isinstance(work, VideoWork) and work.is_busy):
                continue
            is_idle = now - work.used > self.limits.idle_seconds
            is_too_much = total > most or (by_owner[owner] > most_of_one and key != latest[owner])
            if (is_idle or is_too_much) and self._let_go(key, work, forget=is_idle):
                total -= sizes[key]
                by_owner[owner] -= sizes[key]
                self._has_let_go = True

    def _let_go(self, key: str, work: "Work", *, forget: bool) -> bool:
        """Frees a session unless it is at work this moment; an idle one leaves memory altogether.

        One that cannot be saved stays, and is no other one's affair.
        """
        if not work.lock.acquire(blocking=False):
            return False
        try:
            if not _is_released(work):
                return False
            if forget:
                with self._lock:
                    self._works.pop(key, None)
                    self._owners.pop(key, None)
        finally:
            work.lock.release()
        return True

    def _drop_encodings(self) -> None:
        """Deletes the encodings on disk that were written the longest ago while there are too many bytes of them."""
        found: list[tuple[float, int, Path]] = []
        for path in self.folder.glob(f"*/{ENCODING}"):
            with suppress(OSError):  # its session is being removed
                found.append((path.stat().st_mtime, path.stat().st_size, path))
        excess = sum(size for _, size, _ in found) - self.limits.encoding_bytes
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size

    def cancel_jobs(self) -> None:
        """Ends all jobs after the frames that they are at."""
        for work in list(self._works.values()):
            if isinstance(work, VideoWork) and work.job is not None:
                work.job.cancel()

    def close(self) -> None:
        """Cancels jobs, saves and frees everything."""
        self.cancel_jobs()
        for work in list(self._works.values()):
            if isinstance(work, VideoWork) and work.job is not None:
                work.job.join(30)
            _is_released(work)

    def _new_folder(self, person: Person, num_bytes: int) -> Path:
        self._check_disk(person, num_bytes)
        folder = self.folder / secrets.token_urlsafe(16)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise HttpProblem(507, "the server cannot keep more: its disk is full or not writable") from error
        return folder

    def _check_disk(self, person: Person, num_bytes: int) -> None:
        used = num_bytes
        for card in self.folder.glob(f"*/{CARD}"):
            try:
                if read_about(card.parent).owner == person.name:
                    files = (each for each in card.parent.rglob("*") if each.name != ENCODING and each.is_file())
                    used += sum(each.stat().st_size for each in files)
            except (OSError, ValueError):
                continue
        if used > self.limits.person_disk_bytes:
            raise HttpProblem(507, f"{person.name} keeps {used} bytes here, the limit: delete sessions first")


def _may_see(owner: str, person: Person) -> bool:
    return owner == person.name or person.role == "lead"


def _is_released(work: Work) -> bool:
    try:
        work.release()
    except (InputError, OSError, RuntimeError) as error:
        LOG.error(json.dumps({"session": work.folder.name, "not_saved": str(error)[:500]}))
        return False
    return True


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)


def _fill(folder: Path, about: About, fill: Callable[[], None]) -> None:
    """Puts a session's files into its folder; none is left of one that there is no room for."""
    try:
        fill()
        write_about(folder, about)
    except (OSError, InputError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise HttpProblem(507, "the server cannot keep more: its disk is full or not writable") from error
