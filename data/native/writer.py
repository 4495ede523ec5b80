"""`ActivationWriter`: appends rows to a native store, and commits them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any, NoReturn, Self

import numpy as np
import torch

from ...contracts import IGNORE_LABEL, ResponseLogprobs, StoreError
from ..layout.columns import require_meta
from ..layout.files import LocalFiles
from ..layout.metadata import read_attributes
from .arrays import ACTIVATIONS, TEXTS
from .folder import Folder, clear_errors
from .lock import StoreLock, locked_if_it_works
from .old_shard_file import OldShardFile
from .row import as_block, fill_row, require_place, row_values
from .schema import SCHEMA, NativeSchema, new_schema, parse_schema
from .shard_file import Shard, ShardFile
from .tables import read_tables, still_open, write_metadata, write_tables


class ActivationWriter:
    """Writes one native store; one writer at a time, and several stores for several writers.

    Rows are committed by `commit()`, at the end, and when the next row needs another file. The root
    attribute `rows`, replaced last, is the commit: killed at any moment, the store holds exactly
    the rows committed before, and `resume` goes on from there.

    A row is appended when `append` returns, and not at all when it raises. A writer that was
    interrupted (Ctrl-C) may be used on: `hashkey in writer` tells which rows it has. One that could
    not write may only be closed.

    Use `create` or `resume`. As a context manager it commits and closes, after an error in the
    block too.

    Examples:
        >>> import tempfile, numpy as np
        >>> from kview.data import ActivationStore, ActivationWriter
        >>> path = tempfile.mkdtemp()
        >>> with ActivationWriter.create(
        ...     path, layers=[0, 8, 16], hidden_size=4, max_tokens=5, model="my-8b"
        ... ) as writer:
        ...     writer.append(np.ones((3, 2, 4)), token_count=2, input_length=9, hashkey="q1")
        >>> ActivationStore.open(path).read(rows=[0], layers=[[0, 2]]).shape
        (1, 2, 5, 4)
    """

    def __init__(self, folder: Folder, schema: NativeSchema, lock: StoreLock) -> None:
        self._folder = folder
        self._schema = schema
        self._lock = lock
        self._turn = RLock()  # one thread's at a time
        self._failure: OSError | None = None
        self._shard: Shard | None = None
        self._stored = np.empty((len(schema.layers), schema.chunk_bytes), np.uint8)
        keys, rows = read_tables(folder, schema)
        self._rows = rows  # of the files of tables that are not full, and the row being appended
        self._keys = dict.fromkeys(keys)  # of the rows appended, in order

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        layers: Sequence[int],
        hidden_size: int,
        max_tokens: int,
        model: str,
        dtype: str | type | np.dtype[Any] = "float16",
        shard_rows: int | None = None,
        logprob_tokens: int = 0,
        logprobs_top_k: int = 0,
        durable: bool = True,
    ) -> Self:
        """Makes an empty store.

        Args:
            path: where; nothing may be there but an empty folder.
            layers: the model's layer ids, in the order of the layer axis.
            hidden_size: H.
            max_tokens: T, the response tokens kept at most.
            model: the language model's name.
            dtype: float16 or float32.
            shard_rows: rows in a file of activations; about 256 MiB of them by default.
            logprob_tokens: R, the response tokens whose log-probabilities are kept at most; 0 for
                a store without them.
            logprobs_top_k: k, the likeliest tokens that are kept beside each.
            durable: a commit waits for the disk, so that it survives a power cut. Without, it
                still survives the process being killed.

        Raises:
            StoreError: something is there already, or it cannot be written.
            ConfigError: a size makes no sense.
        """
        schema = new_schema(
            layers=layers,
            hidden_size=hidden_size,
            max_tokens=max_tokens,
            model=model,
            dtype=dtype,
            shard_rows=shard_rows,
            logprob_tokens=logprob_tokens,
            logprobs_top_k=logprobs_top_k,
        )
        folder = Folder(Path(path), durable)
        with clear_errors(folder.root):
            folder.root.mkdir(parents=True, exist_ok=True)
            folder.settle("..")
            with locked_if_it_works(folder.root) as lock:
                folder.require_free()
                folder.require_no_links()
                write_metadata(folder, schema)
                return cls(folder, schema, lock)

    @classmethod
    def resume(cls, path: str | os.PathLike[str], *, durable: bool = True) -> Self:
        """Goes on with a store after its last committed row.

        Args:
            path: the store.
            durable: as in `create`.

        Raises:
            StoreError: there is no native store, it is damaged, or another writer has it.
        """
        root = Path(path)
        files, folder = LocalFiles(root), Folder(root, durable)
        with clear_errors(root):
            found = read_attributes(files).get("schema")
        if found != SCHEMA:
            raise StoreError(f"{root} is not a store of schema {SCHEMA!r}: there is none to resume")
        with clear_errors(root), locked_if_it_works(root) as lock:
            schema = parse_schema(read_attributes(files), str(root))
            if require_meta(files, ACTIVATIONS, schema.rows).sharding != schema.sharding:
                raise StoreError(f"{root}: {ACTIVATIONS} is not laid out as its attributes say")
            folder.require_no_links()
            folder.remove_leftovers(schema)
            writer = cls(folder, schema, lock)
            write_tables(folder, schema, writer._rows, schema.rows)
            write_metadata(folder, schema)
            return writer

    def __reduce__(self) -> NoReturn:
        raise StoreError(
            f"{self._folder.root}: a writer cannot be copied or sent to another process, for one "
            "alone may write a store; let each process write a store of its own"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """The rows appended, committed or not."""
        return len(self._keys)

    def __contains__(self, hashkey: str) -> bool:
        """Whether a row with this id has been appended."""
        return hashkey in self._keys

    @property
    def schema(self) -> NativeSchema:
        """The store's root attributes, as committed."""
        return self._schema

    @property
    def rows(self) -> int:
        """The rows committed; a commit that was interrupted may have committed more."""
        return self._schema.rows

    def append(
        self,
        activations: np.ndarray | torch.Tensor,
        *,
        token_count: int,
        input_length: int,
        hashkey: str,
        halu: int = IGNORE_LABEL,
        group: str | None = None,
        response_length: int | None = None,
        prompt: str | None = None,
        response: str | None = None,
        logprobs: ResponseLogprobs | None = None,
    ) -> None:
        """Appends one row.

        Args:
            activations: (L, T', H) floats; the first `token_count` tokens are real, and at most
                `max_tokens` of them are kept.
            token_count: response tokens in `activations`.
            input_length: prompt tokens.
            hashkey: the row's id, not yet in the store.
            halu: 1 hallucinated, 0 not, -1 unlabelled.
            group: rows of one group must not be split apart; every row has one, or none.
            response_length: response tokens before any truncation; `token_count` by default.
            prompt: what the model was given; goes with `response`.
            response: what it answered.
            logprobs: of one sample, (R',) with R' at most `logprob_tokens`; None for a row without
                them.

        Raises:
            ContractError: the row breaks one of these rules, or a value overflows the dtype.
            StoreError: the row cannot be written; the store keeps what was committed.
        """
        values = row_values(
            self._schema,
            token_count=token_count,
            response_length=response_length,
            input_length=input_length,
            halu=halu,
            hashkey=hashkey,
            group=group,
            prompt=prompt,
            response=response,
            logprobs=logprobs,
        )
        block = as_block(activations, self._schema, token_count)
        with self._turn:
            require_place(values, self._keys, self._grouped if len(self) else None)
            fill_row(self._stored, block, values, self._schema)
            row = len(self)
            if row % self._schema.shard_rows == 0:
                self.commit()
            with self._writing():
                if self._shard is None or self._shard.number != row // self._schema.shard_rows:
                    if self._shard is not None:
                        self._shard.close()
                    kind = ShardFile if self._schema.index_location == "start" else OldShardFile
                    self._shard = kind(self._folder, self._schema, row)
                self._shard.write(row, self._stored)
            self._rows[row] = values
            self._keys[values.hashkey] = None  # last: what was interrupted before is written again

    def commit(self) -> None:
        """Commits every row appended so far.

        Raises:
            StoreError: it cannot be written; the store keeps what was committed.
        """
        with self._turn:
            committed, rows = self.rows, len(self)
            if rows == committed:
                return
            with self._writing():
                assert self._shard is not None
                self._shard.commit(committed, rows)
                texts = b"".join(self._rows[row].text for row in range(committed, rows))
                if texts:
                    with self._folder.open(TEXTS, empty=False) as file:
                        file.write(texts, self._schema.texts_bytes)
                        file.settle()
                schema = replace(
                    self._schema,
                    rows=rows,
                    texts_bytes=self._schema.texts_bytes + len(texts),
                    grouped=self._grouped,
                )
                write_tables(self._folder, schema, self._rows, committed)
                write_metadata(self._folder, schema)
            self._schema = schema
            self._rows = still_open(schema, self._rows)

    def close(self) -> None:
        """Commits and lets the store go; after a failed write it only lets go.

        Raises:
            StoreError: the commit cannot be written.
        """
        if not self._lock.held:
            return
        shard = nullcontext() if self._shard is None else closing(self._shard)
        with self._turn, clear_errors(self._folder.root, self.rows), closing(self._lock), shard:
            if self._failure is None:
                self.commit()

    @property
    def _grouped(self) -> bool:
        return self._schema.grouped if self.rows else self._rows[0].group is not None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        root = self._folder.root
        if not self._lock.held:
            raise StoreError(
                f"{root}: the writer is closed, or another process's; resume the store"
            )
        if self._failure is not None:
            raise StoreError(
                f"{root}: the writer failed before ({self._failure}); {self.rows} committed rows "
                "are safe, resume the store to go on"
            )
        try:
            with clear_errors(root, self.rows):
                yield
        except OSError as error:
            self._failure = error
            raise
