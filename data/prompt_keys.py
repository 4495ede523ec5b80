"""`prompt_key`: a prompt's id."""

import hashlib


def prompt_key(prompt: str) -> str:
    """The id of a prompt: the sha256 of its UTF-8 bytes, in hex."""
    return hashlib.sha256(prompt.encode()).hexdigest()
