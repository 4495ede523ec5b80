"""One row on its way into a store: the rules it keeps, and the bytes it becomes."""

from dataclasses import dataclass

import google_crc32c
import numpy as np
import torch

from ...contracts import IGNORE_LABEL, ContractError, Violation
from ..layout.metadata import CRC_BYTES
from .schema import NativeSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class RowValues:
    """What a row holds besides its activations; the names are those of the store's arrays.

    Attributes:
        token_count: response tokens kept.
        response_length: response tokens before truncation.
        input_length: prompt tokens.
        halu: the label.
        hashkey: the id.
        group: the group, or None.
    """

    token_count: int
    response_length: int
    input_length: int
    halu: int
    hashkey: str
    group: str | None


def check_values(values: RowValues) -> None:
    """The rules of a row on its own.

    Raises:
        ContractError: it breaks one.
    """
    if values.token_count < 0 or values.input_length < 0:
        got = f"{values.token_count} and {values.input_length}"
        raise refused(("token_count", "input_length"), "length", "at least 0", got)
    if values.response_length < values.token_count:
        expected = f"at least token_count={values.token_count}"
        raise refused(("response_length",), "length", expected, f"{values.response_length}")
    if values.halu not in (0, 1, IGNORE_LABEL):
        raise refused(("halu",), "label", "1, 0 or -1", f"{values.halu}")
    if not isinstance(values.hashkey, str) or not values.hashkey:
        raise refused(("hashkey",), "hashkey", "a non-empty string", f"{values.hashkey!r}")


def as_block(
    activations: np.ndarray | torch.Tensor, schema: NativeSchema, token_count: int
) -> np.ndarray:
    """The activations of a row as an array.

    Raises:
        ContractError: they are not floats (L, T', H) with at least `token_count` tokens.
    """
    if isinstance(activations, torch.Tensor):
        activations = activations.detach().cpu()
        if activations.dtype == torch.bfloat16:  # numpy has none
            activations = activations.float()
        activations = activations.numpy()
    layers, hidden, shape = len(schema.layers), schema.hidden_size, activations.shape
    fits = len(shape) == 3 and (shape[0], shape[2]) == (layers, hidden)
    if not fits or activations.dtype.kind != "f":
        expected = f"floats ({layers}, T, {hidden})"
        raise refused(("activations",), "shape", expected, f"{activations.dtype} {shape}")
    if token_count > shape[1]:
        expected = f"at most the {shape[1]} tokens of activations"
        raise refused(("token_count", "activations"), "size of T", expected, f"{token_count}")
    return activations


def fill_row(
    stored: np.ndarray, block: np.ndarray, values: RowValues, schema: NativeSchema
) -> None:
    """Writes a row as its shard holds it: a chunk a layer, zeros behind the tokens, checksums.

    Args:
        stored: (L, bytes of a chunk and its checksum) uint8, to be filled.
        block: (L, T', H) activations.
        values: the row's other values.
        schema: the store's.

    Raises:
        ContractError: a value overflows the store's dtype.
    """
    size, tokens = schema.block_bytes, values.token_count
    for place, chunk in enumerate(stored):
        view = chunk[:size].view(schema.dtype).reshape(schema.max_tokens, schema.hidden_size)
        try:
            with np.errstate(over="raise"):
                view[:tokens] = block[place, :tokens]
        except FloatingPointError as error:
            top = np.abs(block[place, :tokens], dtype=np.float64).max()
            raise refused(
                ("activations",),
                "overflow",
                f"magnitudes that {schema.dtype} can hold (a float32 store holds more)",
                f"{top:.6g} in layer {schema.layers[place]} of {values.hashkey!r}",
            ) from error
        view[tokens:] = 0
        chunk[size:] = np.frombuffer(checksum(chunk[:size]), np.uint8)


def checksum(data: bytes | np.ndarray) -> bytes:
    """The crc32c of bytes, as Zarr's codec appends it."""
    return google_crc32c.value(data).to_bytes(CRC_BYTES, "little")


def refused(fields: tuple[str, ...], rule: str, expected: str, got: str) -> ContractError:
    """The error of a row that cannot be appended."""
    violation = Violation(fields, rule, expected, got)
    return ContractError(f"ActivationWriter.append: {violation}", (violation,))
