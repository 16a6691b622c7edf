import errno
import os

import pytest

from masklet.errors import InputError
from masklet.files import write_atomically


def test_bytes_text_and_writers_reach_the_file(tmp_path):
    target = tmp_path / "new" / "folder" / "file.txt"
    for content in (b"gr\xc3\xbcn", "grün", lambda file: file.write("grün".encode())):
        assert write_atomically(target, content).read_text(encoding="utf-8") == "grün"
    assert os.listdir(target.parent) == ["file.txt"]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    target = write_atomically(tmp_path / "file.txt", "old")

    def fill(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="the disk is full"):
        write_atomically(target, fill)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_an_error_of_the_writer_is_passed_on_and_nothing_is_left(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "file.txt", lambda file: 1 / 0)  # noqa: ARG005
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission to write there"):
        write_atomically(tmp_path / "file.txt", "text")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a file, not a folder"):
        write_atomically(tmp_path / "file" / "inner.txt", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        write_atomically(tmp_path / "folder", "text")
