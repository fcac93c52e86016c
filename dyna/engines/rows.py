"""Which row of the cache holds which conversation, and how much of it.

A conversation keeps its row while nobody else needs it; the idle row used longest ago is the
first to go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class RowTable:
    """Token ids held by each row, and whose they are."""

    def __init__(self, *, num_rows: int, max_context: int) -> None:
        self.ids = np.zeros((num_rows, max_context), dtype=np.int64)
        """[R, C] the tokens whose keys and values lie in the cache."""
        self.lengths = np.zeros(num_rows, dtype=np.int64)
        """[R] how many of them are valid."""
        self.is_busy = np.zeros(num_rows, dtype=np.bool_)
        """[R] a request is being answered in this row."""
        self._last_use = np.zeros(num_rows, dtype=np.int64)
        self._clock = 0
        self._owner: list[str | None] = [None] * num_rows
        self._row_of: dict[str, int] = {}

    @property
    def num_idle(self) -> int:
        return int((~self.is_busy).sum())

    def take_held(self, conversation_id: str) -> int | None:
        """The idle row that holds the conversation, made busy; None if there is none."""
        row = self._row_of.get(conversation_id)
        if row is None or self.is_busy[row]:
            return None
        self.is_busy[row] = True
        return row

    def take_new(self, conversation_id: str) -> tuple[int, bool]:
        """An empty row, or else the idle one used longest ago; and whether it was evicted."""
        idle = np.flatnonzero(~self.is_busy)
        # Rows that were emptied have length 0 and go first, in rising order.
        row = int(idle[np.lexsort((self._last_use[idle], self.lengths[idle] > 0))[0]])
        is_evicted = bool(self.lengths[row] > 0)
        self.forget(row)
        self._owner[row] = conversation_id
        # A second request of a conversation that is being answered owns the name from now on.
        self._row_of[conversation_id] = row
        self.is_busy[row] = True
        return row, is_evicted

    def common_prefix(self, row: int, *, prompt: NDArray[np.int64]) -> int:
        """How many leading tokens of `prompt` the row holds."""
        length = min(int(self.lengths[row]), len(prompt))
        differs = self.ids[row, :length] != prompt[:length]
        return int(differs.argmax()) if differs.any() else length

    def best_prefix(self, prompt: NDArray[np.int64]) -> tuple[int, int]:
        """The row that holds most of the beginning of `prompt`, busy or idle, and how much."""
        width = len(prompt)
        columns = np.arange(width)[None, :]
        is_equal = (self.ids[:, :width] == prompt) & (columns < self.lengths[:, None])
        # A column of False ends every row, so that argmin finds where the equal part stops.
        ends = np.zeros((len(is_equal), 1), dtype=np.bool_)
        shared = np.concatenate([is_equal, ends], axis=1).argmin(axis=1)
        row = int(shared.argmax())
        return row, int(shared[row])

    def release(self, row: int) -> None:
        """Make a row idle; what it holds stays."""
        self._clock += 1
        self._last_use[row] = self._clock
        self.is_busy[row] = False

    def forget(self, row: int) -> None:
        """Drop what a row holds; its tokens stay readable until others are written."""
        owner = self._owner[row]
        if owner is not None and self._row_of.get(owner) == row:
            del self._row_of[owner]
        self._owner[row] = None
        self.lengths[row] = 0

    def forget_all(self) -> None:
        """Drop everything, that of busy rows too, and make all rows idle."""
        self.is_busy[:] = False
        for row in range(len(self._owner)):
            self.forget(row)
