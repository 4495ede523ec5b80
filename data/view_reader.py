"""`ViewReader`: the views of rows, drawn from the layers that they have, and read."""

import numpy as np

from ..contracts import StoreError
from .layout.chunk_index import MissingChunkError
from .store import ActivationStore
from .view_sampling import Draw, ViewRule, draw_views
from .view_settings import ViewSettings


class ViewReader:
    """Reads rows of a store as settings say.

    Args:
        store: whose rows.
        settings: how they are seen.
    """

    def __init__(self, store: ActivationStore, settings: ViewSettings) -> None:
        self.store = store
        self.settings = settings
        places = {layer: place for place, layer in enumerate(store.layer_ids)}
        self._places = np.array([places[layer] for layer in settings.relevant_layers])
        self._rule = ViewRule(settings.num_views, settings.fixed_layer, settings.replacement)

    def read(self, rows: np.ndarray, draws: list[Draw]) -> tuple[np.ndarray, np.ndarray]:
        """The views of B draws.

        Args:
            rows: (B,) rows of the store.
            draws: B draws of them.

        Returns:
            (B, K) positions in `relevant_layers`, and (B, K, T, H) what is there.

        Raises:
            StoreError: a row's activations are damaged, or it has too few layers.
        """
        settings = self.settings
        if settings.views is not None:
            views = np.tile(np.array(settings.views), (len(rows), 1))
        elif settings.replacement or settings.layers_needed > settings.num_views:
            views = self._draw(rows, draws, self.available(rows))
        else:  # missing layers are rare, and taking one away changes nothing among the others
            views = self._draw(rows, draws, np.ones((len(rows), len(self._places)), bool))
        try:
            return views, self._fetch(rows, views)
        except MissingChunkError:
            if settings.views is not None:
                self._require_stored(rows, views)
                raise
            views = self._draw(rows, draws, self.available(rows))
            return views, self._fetch(rows, views)

    def read_every_layer(self, row: int) -> np.ndarray:
        """All relevant layers of a row, (L', T, H)."""
        return self._fetch(np.array([row]), np.arange(len(self._places))[None])[0]

    def available(self, rows: np.ndarray) -> np.ndarray:
        """(B, L') whether each relevant layer of each row has the tokens that are wanted."""
        places = np.tile(self._places, (len(rows), 1))
        return self.store.stored(rows, places, max_tokens=self.settings.pad_length)

    def _fetch(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        return self.store.read(rows, self._places[views], max_tokens=self.settings.pad_length)

    def _draw(self, rows: np.ndarray, draws: list[Draw], available: np.ndarray) -> np.ndarray:
        self._require_enough(rows, available)
        return draw_views(
            self._rule,
            seed=self.settings.random_seed,
            rows=rows,
            draws=draws,
            available=available,
        )

    def _require_enough(self, rows: np.ndarray, available: np.ndarray) -> None:
        least, fixed = self.settings.layers_needed, self.settings.fixed_layer
        counts = available.sum(1)
        short = np.flatnonzero(counts < least)
        if len(short):
            row, size = int(rows[short[0]]), len(self._places)
            raise StoreError(
                f"{self._name(row)} has {counts[short[0]]} of the {size} relevant layers and "
                f"{least} are needed (so have {len(short)} rows of this batch); keep "
                f"dataset.available_rows({least}), or lower num_views"
            )
        if fixed is not None and not available[:, fixed].all():
            row = rows[np.flatnonzero(~available[:, fixed])[0]]
            raise StoreError(
                f"{self._name(int(row))} has no activations of fixed_layer={fixed} "
                f"(layer {self.settings.relevant_layers[fixed]})"
            )

    def _require_stored(self, rows: np.ndarray, views: np.ndarray) -> None:
        found = self.store.stored(rows, self._places[views], max_tokens=self.settings.pad_length)
        if not found.all():
            b, k = np.argwhere(~found)[0]
            raise StoreError(
                f"{self._name(int(rows[b]))} has no activations of layer "
                f"{self.settings.relevant_layers[views[b, k]]}, at which every row is to be seen; "
                "choose other views, or keep dataset.available_rows() of all layers"
            )

    def _name(self, row: int) -> str:
        return f"row {row} ({self.store.hashkeys[row]})"
