"""Settings for the whole suite."""

import os

import beartype.door  # noqa: F401  (before a forked worker does: CPython < 3.11.8 trips, gh-106905)
from hypothesis import settings

settings.register_profile("kview", deadline=None, max_examples=50, print_blob=True)
settings.register_profile("soak", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "kview"))
