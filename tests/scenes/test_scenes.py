"""Generated scenes and clips: reproducible, exactly labelled, and honest about what is absent."""

import numpy as np
import pytest
from scene_checks import assert_labelled, assert_same

from masklet.data.schema import Example
from masklet.scenes.layout import KINDS, SceneConfig
from masklet.scenes.moving.clips import render_clip
from masklet.scenes.objects.paint import COLOUR_WORDS, COLOURS, PATTERNS
from masklet.scenes.phrases import Description, Phrase, is_unseen_pair, objects_of, size_words
from masklet.scenes.scene import Scene, build_scene, render_scene

CONFIG = SceneConfig(size=160)
SEEDS = range(40)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [render_scene(seed, CONFIG) for seed in SEEDS]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [_scene(seed, CONFIG) for seed in SEEDS]


def _scene(seed: int, config: SceneConfig) -> Scene:
    """The scene behind `render_scene(seed, config)`, before its labels are written."""
    return build_scene(np.random.default_rng([seed, 1]), config, None)


def _words(phrase: str) -> dict[str, str]:
    """Take a phrase apart again, without the code that put it together."""
    found, words = {}, phrase.split()
    for key, known in (("size", ("small", "large")), ("pattern", PATTERNS), ("colour", tuple(COLOURS))):
        if words[0] in known:
            found[key] = words.pop(0)
    found["noun"] = " ".join(words)
    return found


def test_same_seed_same_scene(examples: list[Example]) -> None:
    assert_same(render_scene(3, CONFIG), examples[3])
    assert not np.array_equal(examples[3].image, examples[4].image)


def test_labels_are_exact(examples: list[Example]) -> None:
    for example in examples:
        assert example.image.shape == (160, 160, 3)
        assert_labelled(example)


def test_answers_are_true_and_complete(examples: list[Example], scenes: list[Scene]) -> None:
    num_positive = num_negative = 0
    for example, scene in zip(examples, scenes, strict=True):
        for query in example.queries:
            words = _words(query.phrase)
            fits = {
                index
                for index, placed in enumerate(scene.objects)
                if words["noun"] in (*placed.kind.nouns, "thing")
                and words.get("colour", placed.colour) == placed.colour
                and words.get("pattern", placed.look.pattern) == placed.look.pattern
            }
            assert query.exhaustive
            if "size" in words:
                assert set(query.object_index) <= fits
            else:
                assert set(query.object_index) == fits, query
            num_positive += bool(query.object_index)
            num_negative += not query.object_index
    assert 0.3 < num_negative / (num_positive + num_negative) < 0.65


def test_size_words_need_one_clear_gap() -> None:
    mugs = [Description(nouns=("mug",), extent=extent) for extent in (50.0, 20.0, 22.0)]
    assert size_words("mug", mugs) == ["large", "small", "small"]
    assert size_words("mug", mugs[1:]) == [None, None]
    assert objects_of(Phrase("mug", size="large"), mugs) == (0,)
    assert objects_of(Phrase("mug", size="large"), mugs[1:]) is None


def test_what_could_be_argued_is_not_asked() -> None:
    cup = Description(nouns=("cup",), maybe_nouns=frozenset({"mug"}), colour="red", pattern="striped", extent=9.0)
    assert objects_of(Phrase("mug"), [cup]) is None
    assert objects_of(Phrase("mug", colour="blue"), [cup]) == ()
    assert objects_of(Phrase("cup", colour="red"), [cup]) == (0,)


def test_held_out_pairs_are_about_eight_percent_and_fixed() -> None:
    pairs = [is_unseen_pair(colour, kind.nouns[0]) for colour in COLOUR_WORDS for kind in KINDS]
    assert 0.05 < np.mean(pairs) < 0.11
    assert not is_unseen_pair("red", "coin")
    assert not is_unseen_pair(None, "mug")


def test_training_never_shows_or_asks_a_held_out_pair() -> None:
    for seed in range(200):
        for placed in _scene(seed, SceneConfig(size=64)).objects:
            assert not any(is_unseen_pair(placed.colour, noun) for noun in placed.kind.nouns)
    for seed in range(60):
        for query in render_scene(seed, SceneConfig(size=96)).queries:
            words = _words(query.phrase)
            assert not is_unseen_pair(words.get("colour"), words["noun"])


def test_unseen_scenes_ask_for_a_held_out_pair() -> None:
    for seed in range(25):
        example = render_scene(seed, SceneConfig(size=160, combinations="unseen"))
        asked = [_words(query.phrase) for query in example.queries if query.object_index]
        assert any(is_unseen_pair(words.get("colour"), words["noun"]) for words in asked)


def test_greyscale_scenes_are_grey_and_say_no_colour() -> None:
    config = SceneConfig(size=96, greyscale_share=1.0)
    grey = 0
    for seed in range(25):
        example = render_scene(seed, config)
        if _scene(seed, config).palette.greyscale:
            grey += 1
            spread = example.image.max(axis=-1).astype(int) - example.image.min(axis=-1)
            assert spread.max() <= 2  # JPEG may round
            assert not any("colour" in _words(query.phrase) for query in example.queries)
    assert grey > 10


def test_photo_ground_leaves_things_open() -> None:
    photo = np.random.default_rng(0).integers(0, 255, (120, 150, 3), dtype=np.uint8)
    for seed in range(15):
        for query in render_scene(seed, CONFIG, photo).queries:
            assert query.exhaustive == (_words(query.phrase)["noun"] != "thing")


def test_easy_scenes_hold_few_objects() -> None:
    config = SceneConfig(size=96, difficulty=0.0, crowd_share=0.0, coin_share=0.0, cell_share=0.0)
    assert all(1 <= len(_scene(seed, config).objects) <= 4 for seed in range(30) if _scene(seed, config).objects)


def test_clip_keeps_identity() -> None:
    clip = render_clip(7, SceneConfig(size=160, difficulty=0.5), 6)
    assert_same(clip.frames[2], render_clip(7, SceneConfig(size=160, difficulty=0.5), 6).frames[2])
    first = clip.frames[0]
    for before, after in zip(clip.frames, clip.frames[1:], strict=False):
        assert_labelled(after, empty=True)
        assert len(after.masks) == len(first.masks)
        assert [q.phrase for q in after.queries] == [q.phrase for q in first.queries]
        seen = before.masks.any(axis=(1, 2)) & after.masks.any(axis=(1, 2))
        steps = np.abs(after.boxes_xyxy - before.boxes_xyxy)[seen]
        assert steps.max(initial=0) < 0.2 * 160
    assert any(not np.array_equal(first.masks[i], clip.frames[-1].masks[i]) for i in range(len(first.masks)))
