"""Settings for every test: no time limits, as machines are shared, and no network for what would reach for one."""

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"

settings.register_profile("masklet", deadline=None, max_examples=50)
settings.load_profile("masklet")
