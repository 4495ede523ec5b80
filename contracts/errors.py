"""The error tree.

KViewError
├── ContractError    (ValueError, jaxtyping.TypeCheckError)  data that breaks its contract
├── StoreError       (OSError)       a store that is missing, damaged or not understood
├── LabelError       (ValueError)    labels that do not fit the rows they are for
├── ConfigError      (ValueError)    a setting that is wrong or cannot take effect
├── CheckpointError  (RuntimeError)  a checkpoint that is damaged or belongs to another run
└── NotFittedError   (RuntimeError)  a detector asked for scores before `fit`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from jaxtyping import TypeCheckError


class KViewError(Exception):
    """Base of every error that kview raises on purpose.

    Examples:
        >>> from kview.contracts import KViewError, checks
        >>> try:
        ...     checks("some").__enter__()
        ... except KViewError as error:
        ...     print(error)
        checks(...) is 'some'; it takes one of off, shape, full
    """


class StoreError(KViewError, OSError):
    """A store is missing, damaged, or of a kind that is not understood.

    Examples:
        >>> from kview.data import ActivationStore
        >>> ActivationStore.open("no-such-folder")
        Traceback (most recent call last):
        kview.contracts.errors.StoreError: no Zarr group at 'no-such-folder': ...
    """


class LabelError(KViewError, ValueError):
    """Labels do not fit the rows they are meant for.

    Examples:
        >>> import numpy as np
        >>> from kview.data.splits import split_rows
        >>> split_rows(np.array([0, 1]), strategy="two_way", seed=0, groups=["one"])
        Traceback (most recent call last):
        kview.contracts.errors.LabelError: there are 1 groups for 2 rows
    """


class ConfigError(KViewError, ValueError):
    """A setting is wrong, or cannot take effect.

    Examples:
        >>> from kview.contracts import checks
        >>> with checks("some"):
        ...     pass
        Traceback (most recent call last):
        kview.contracts.errors.ConfigError: checks(...) is 'some'; it takes one of off, ...
    """


class CheckpointError(KViewError, RuntimeError):
    """A checkpoint is damaged, or belongs to another run.

    Examples:
        >>> from kview.train import load_encoder
        >>> load_encoder("no-such-run")
        Traceback (most recent call last):
        kview.contracts.errors.CheckpointError: no-such-run does not exist; ...
    """


class NotFittedError(KViewError, RuntimeError):
    """A detector was asked for scores before it was fitted.

    Examples:
        >>> import torch
        >>> from kview.contracts import EmbeddingBatch
        >>> from kview.eval import KNNDetector
        >>> KNNDetector().score(EmbeddingBatch(z_views=torch.ones(3, 2, 8)))
        Traceback (most recent call last):
        kview.contracts.errors.NotFittedError: KNNDetector has no reference set yet; ...
    """


def listed(names: Sequence[str], most: int = 6) -> str:
    """`a, b, c and 61 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    Attributes:
        fields: the fields involved; several when sizes disagree, for none is presumed right.
        rule: short name of the rule: `type`, `rank`, `dtype`, `axis K`, `size of K`, ...
        expected: what the contract asks for.
        got: what came.
    """

    fields: tuple[str, ...]
    rule: str
    expected: str
    got: str

    @property
    def field(self) -> str:
        """The fields in one string."""
        return listed(self.fields)

    def __str__(self) -> str:
        said = len(self.fields) > 1 and any(field in self.got for field in self.fields)
        subject = "" if said else f"{self.field}: "
        return f"{subject}{self.rule}: expected {self.expected}, got {self.got}"


class ContractError(KViewError, ValueError, TypeCheckError):
    """Data breaks its contract; the message is the whole report.

    It can be rebuilt from its message alone, which is what a DataLoader worker's error goes
    through; `violations` is then empty, and the message still names everything.

    Attributes:
        violations: every broken rule, in the order of the contract's fields.

    Examples:
        >>> import torch
        >>> from kview.contracts import ContractError, EmbeddingBatch
        >>> try:
        ...     EmbeddingBatch(z_views=torch.zeros(3, 1, 8))
        ... except ContractError as error:
        ...     print(error.violations[0])
        z_views: size of K: expected K >= 2, got K = 1
    """

    def __init__(self, message: str, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(message)
        self.violations = violations

    @classmethod
    def of(
        cls, subject: str, field: str | tuple[str, ...], rule: str, expected: str, got: str
    ) -> Self:
        """The error of one broken rule.

        Args:
            subject: who refuses: a contract, a function.
            field: what breaks the rule, or several where none is presumed right.
            rule: the rule's short name.
            expected: what is asked for.
            got: what came.

        Examples:
            >>> from kview.contracts import ContractError
            >>> raise ContractError.of("supcon_loss", "labels", "dtype", "Float (B,)", "bool")
            Traceback (most recent call last):
            kview.contracts.errors.ContractError: supcon_loss: labels: dtype: expected Float ...
        """
        violation = Violation((field,) if isinstance(field, str) else field, rule, expected, got)
        return cls(f"{subject}: {violation}", (violation,))

    def __reduce__(self) -> tuple[type["ContractError"], tuple[str, tuple[Violation, ...]]]:
        return type(self), (str(self), self.violations)
