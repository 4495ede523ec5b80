"""`create_or_resume`: a writer for a store that may have been begun before."""

import os
from pathlib import Path

from ...contracts import StoreError
from .folder import ROOT
from .schema import NativeSchema
from .writer import ActivationWriter


def create_or_resume(path: str | os.PathLike[str], wanted: NativeSchema) -> ActivationWriter:
    """Makes a store, or goes on with one that was begun with the same settings.

    Args:
        path: where.
        wanted: the settings; a store that is there may have files of other sizes.

    Raises:
        StoreError: what is there was begun with another model, or other layers or sizes; else as in
            `ActivationWriter.create` and `resume`.
    """
    if not (Path(path) / ROOT).exists():
        return ActivationWriter.create(
            path,
            layers=wanted.layers,
            hidden_size=wanted.hidden_size,
            max_tokens=wanted.max_tokens,
            model=wanted.model,
            dtype=wanted.dtype,
            shard_rows=wanted.shard_rows,
            logprob_tokens=wanted.logprob_tokens,
            logprobs_top_k=wanted.logprobs_top_k,
        )
    writer = ActivationWriter.resume(path)
    sizes = ("hidden_size", "max_tokens", "dtype", "logprob_tokens", "logprobs_top_k")
    for name in ("model", "layers", *sizes):
        there, here = getattr(writer.schema, name), getattr(wanted, name)
        if there != here:
            writer.close()
            raise StoreError(
                f"{os.fspath(path)} was begun with {name}={there!r}, not {here!r}; go on as it was "
                f"begun{' (logprobs=False keeps none)' if 'logprob' in name else ''}, or begin anew"
            )
    return writer
