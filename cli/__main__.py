"""`python -m kview.cli`: the same program as `kview`, for torchrun."""

from .main import main

main()
