"""Values that are kept are computed once, and several objects' at the same time."""

import threading

from masklet.cached import cached


class Photo:
    """Meets another thread while it computes."""

    def __init__(self, meeting: threading.Barrier) -> None:
        self.meeting, self.times = meeting, 0

    @cached
    def masks(self) -> list[int]:
        """What is kept."""
        self.times += 1
        self.meeting.wait(5)
        return [1]


def test_a_value_is_computed_once_and_kept() -> None:
    photo = Photo(threading.Barrier(1))
    assert photo.masks is photo.masks
    assert photo.times == 1
    assert Photo.masks.__doc__ == "What is kept."


def test_two_objects_are_computed_at_the_same_time() -> None:
    meeting = threading.Barrier(2)
    threads = [threading.Thread(target=lambda: Photo(meeting).masks) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not meeting.broken
