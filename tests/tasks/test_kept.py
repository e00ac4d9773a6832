"""What is kept: each row made once, in any order, by any threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from linsight.tasks.kept import Kept


def squares(made: list[int]):
    def make(rows: np.ndarray) -> tuple[Tensor, Tensor]:
        made.extend(rows.tolist())
        numbers = torch.from_numpy(rows)
        return numbers**2, torch.stack([numbers, -numbers], 1).double()

    return make


def test_rows_come_in_their_order_with_repeats_and_are_made_once() -> None:
    made: list[int] = []
    kept = Kept(10, squares(made))
    for rows in ([7, 2, 7], [2, 0], [9], [9, 7, 0]):
        one, two = kept.rows(np.array(rows))
        assert one.tolist() == [row**2 for row in rows]
        assert two.tolist() == [[row, -row] for row in rows]
        assert two.dtype == torch.float64
    assert sorted(made) == [0, 2, 7, 9]


def test_what_is_handed_out_is_not_what_is_kept() -> None:
    kept = Kept(4, squares([]))
    kept.rows(np.array([3]))[0].fill_(0)
    assert kept.rows(np.array([3]))[0].tolist() == [9]


def test_threads_make_each_row_once() -> None:
    made: list[int] = []
    kept = Kept(200, squares(made))
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda first: kept.rows(np.arange(first, first + 50))[0], range(0, 150, 5)))
    for first, part in zip(range(0, 150, 5), parts, strict=True):
        assert torch.equal(part, torch.arange(first, first + 50) ** 2)
    assert len(made) == len(set(made)) == 195
