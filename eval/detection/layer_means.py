"""Every row's mean activation at every layer, kept in a file: together they outgrow memory."""

import tempfile
from typing import Self

import numpy as np
from numpy.typing import NDArray


class LayerMeans:
    """Mean activations, put in row by row and taken out layer by layer.

    They lie in an unnamed temporary file (in TMPDIR), 4 bytes a number, which is gone when this is
    closed. A file that is read, not mapped, is no part of the process's memory.

    Args:
        num_rows: N.
        num_layers: L.

    Examples:
        >>> import numpy as np
        >>> from kview.eval.detection.layer_means import LayerMeans
        >>> with LayerMeans(num_rows=3, num_layers=2) as means:
        ...     means.append(np.zeros((1, 2, 4), np.float32))
        ...     means.append(np.ones((2, 2, 4), np.float32))
        ...     means.of_layer(1).sum(axis=1).tolist()
        [0.0, 4.0, 4.0]
    """

    def __init__(self, num_rows: int, num_layers: int) -> None:
        self.num_rows, self.num_layers = num_rows, num_layers
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._rows = 0
        self._hidden = 0

    def append(self, means: NDArray[np.float32]) -> None:
        """Takes the next rows' means, (B, L, H)."""
        self._hidden = means.shape[2]
        for layer in range(self.num_layers):
            self._file.seek(self._place(layer, self._rows))
            self._file.write(np.ascontiguousarray(means[:, layer]).data)
        self._rows += len(means)

    def of_layer(self, position: int) -> NDArray[np.float32]:
        """All rows' means at a layer, (N, H)."""
        found = np.empty((self._rows, self._hidden), np.float32)
        self._file.seek(self._place(position, 0))
        self._file.readinto(found.data)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _place(self, layer: int, row: int) -> int:
        return (layer * self.num_rows + row) * self._hidden * 4
