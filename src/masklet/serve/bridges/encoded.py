"""Images that other programs send again with every click: encoded once, the last few kept."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from masklet.inference.image.image_session import ImageSession
from masklet.serve.model_host import ModelHost
from masklet.serve.uploads import ImageDecoder

KEPT = 6


class EncodedImages:
    """Sessions by the content of their images. One at a time uses each."""

    def __init__(self, host: ModelHost, decoder: ImageDecoder) -> None:
        self.host, self.decoder = host, decoder
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[ImageSession, threading.Lock]] = OrderedDict()

    @contextmanager
    def session(self, data: bytes) -> Iterator[ImageSession]:
        """The session of an image file. Raises: InputError, HttpProblem when it cannot be read."""
        key = hashlib.sha256(data).hexdigest()
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            found = (self.host.get().open(self.decoder.read(data)), threading.Lock())
        with self._lock:
            found = self._kept.setdefault(key, found)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        with found[1]:
            yield found[0]
