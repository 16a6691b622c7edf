"""Documents of any size item by item, and lines put into buckets."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masklet.errors import InputError
from masklet.formats import stream
from masklet.formats.stream import Buckets, iterate_items, read_bucket

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def expected(document) -> list:
    if isinstance(document, list):
        return [("", value) for value in document]
    return [
        (name, value)
        for name, section in document.items()
        for value in (section if isinstance(section, list) else [section])
    ]


@given(st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4), st.integers(1, 9), st.booleans())
@settings(deadline=None, max_examples=150)
def test_gives_every_item_however_the_file_is_cut(tmp_path_factory, document, chunk, pretty):
    path = tmp_path_factory.mktemp("stream") / "document.json"
    path.write_text(json.dumps(document, indent=2 if pretty else None, ensure_ascii=False), encoding="utf-8")
    before, stream.CHUNK_CHARACTERS = stream.CHUNK_CHARACTERS, chunk
    try:
        items = list(iterate_items(path))
    finally:
        stream.CHUNK_CHARACTERS = before
    assert [(section, value) for section, value, _ in items] == expected(document)
    for _, value, text in items:
        assert "\n" not in text
        assert json.loads(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at character 0: the document ends early"),
        ("7", "at character 0: a list or an object is expected here"),
        ("[1, 2", "at character 6: the document ends early|at character 5: the document ends early"),
        ("[1 2]", "at character 3: ',' or ']' is expected here, not '2'"),
        ('{"a": [1], "b": nul}', "at character 16: Expecting value"),
        ('{"a" 1}', "at character 5: ':' is expected here"),
        ("[1] x", "at character 4: there is more behind the end"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_says_where_a_document_stops_being_json(tmp_path, text, message):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"broken\.json: not readable as JSON") as error:
        list(iterate_items(path))
    assert any(each.replace("|", "") in str(error.value) for each in message.split("|"))


def test_says_when_a_file_is_missing_or_no_text(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json: cannot be read: No such file"):
        list(iterate_items(tmp_path / "nowhere.json"))
    (tmp_path / "binary.json").write_bytes(b"[\xff\xfe]")
    with pytest.raises(InputError, match=r"binary\.json: is not a text file in UTF-8"):
        list(iterate_items(tmp_path / "binary.json"))


def test_an_item_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "LARGEST_ITEM", 1000)
    monkeypatch.setattr(stream, "CHUNK_CHARACTERS", 100)
    (tmp_path / "long.json").write_text(json.dumps(["x" * 5000]))
    with pytest.raises(InputError, match="an item is larger than any record can be"):
        list(iterate_items(tmp_path / "long.json"))


def test_a_bucket_has_all_lines_of_its_keys_in_order(tmp_path):
    with Buckets(tmp_path, 3) as buckets:
        for key in range(20):
            buckets.add(key, "a", json.dumps({"key": key, "text": "tab\t \u2028 line"}))
            buckets.add(key, "b", str(key))
    seen = [list(read_bucket(path)) for path in buckets.paths]
    for index, lines in enumerate(seen):
        assert [int(text) for tag, text in lines if tag == "b"] == list(range(index, 20, 3))
        assert [json.loads(text)["key"] for tag, text in lines if tag == "a"] == list(range(index, 20, 3))
