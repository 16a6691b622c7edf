import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError
from masklet.formats.davis import list_videos


def test_frames_come_in_natural_order_and_hidden_files_are_none(tmp_path):
    (tmp_path / "bear").mkdir()
    for name in [*(f"{number}.png" for number in range(12)), ".0.png", "._1.png"]:
        Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(tmp_path / "bear" / name, format="PNG")
    assert [path.stem for path in list_videos(tmp_path)["bear"]] == [str(number) for number in range(12)]


def test_a_folder_without_videos_is_named(tmp_path):
    (tmp_path / ".bear").mkdir()
    (tmp_path / ".bear" / "0.png").touch()
    with pytest.raises(InputError, match="holds no folders of PNG files"):
        list_videos(tmp_path)
