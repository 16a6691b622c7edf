"""Bytes by digest."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.engine.blobs import Blobs
from masklet.errors import InputError


@given(content=st.binary(max_size=200))
def test_what_is_put_comes_back(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    blobs = Blobs(tmp_path_factory.getbasetemp() / "round")
    assert blobs.get(blobs.put(content)) == content


def test_the_same_bytes_are_kept_once_and_damage_is_noticed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"a")
    assert blobs.put(b"a") == digest
    assert list(blobs) == [digest]
    assert not blobs.damaged()
    blobs.path(digest).write_bytes(b"b")
    assert blobs.damaged() == [digest]
    with pytest.raises(InputError, match="damaged"):
        blobs.get(digest)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 63 + "/"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, digest: str) -> None:
    with pytest.raises(InputError, match="no digest"):
        Blobs(tmp_path).get(digest)


def test_sweeping_leaves_what_is_reachable(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    kept, lost = blobs.put(b"kept"), blobs.put(b"lost")
    assert blobs.sweep([kept], dry_run=True) == [lost]
    assert set(blobs) == {kept, lost}
    assert blobs.sweep([kept], dry_run=False) == [lost]
    assert list(blobs) == [kept]
