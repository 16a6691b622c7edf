"""Settings for every test: no time limits (machines are shared), and no network for anything that would reach for one."""

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"

settings.register_profile("masklet", deadline=None, max_examples=50)
settings.load_profile("masklet")
