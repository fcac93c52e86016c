"""Several low-rank adapters as one of the same rank: a weighted sum of their products B A.

The sum of k adapters of rank r has rank k r. What is kept is the best approximation of rank r
(Eckart and Young 1936), found from the small factors alone; it is exact when the adapters share
their directions, and `kept` says how much of the sum it holds otherwise.
"""

# torch leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_A, _B = ".lora_A.", ".lora_B."


def merge_adapters(
    adapters: Sequence[Mapping[str, Tensor]], *, shares: Sequence[float]
) -> tuple[dict[str, Tensor], float]:
    """The adapter of `sum share * B A`, and the share of its squared norm that was kept, in [0, 1].

    All have the same names and shapes. Raises `ValueError` for a part that is no factor A or B.
    """
    first = adapters[0]
    strange = [name for name in first if _A not in name and _B not in name]
    if strange:
        raise ValueError(f"adapters are merged of factors A and B; {strange[0]!r} is neither")
    if len(adapters) == 1 and shares[0] == 1.0:
        return {name: tensor.clone() for name, tensor in first.items()}, 1.0
    merged: dict[str, Tensor] = {}
    kept = whole = 0.0
    for name_a in (name for name in first if _A in name):
        name_b = name_a.replace(_A, _B)
        rights = torch.cat([adapter[name_a].double() for adapter in adapters])  # [k r, I]
        lefts = torch.cat(
            [s * adapter[name_b].double() for s, adapter in zip(shares, adapters, strict=True)],
            dim=1,
        )  # [O, k r]
        rank = first[name_a].shape[0]
        left, values, right = _svd_of_product(lefts, rights)
        root = values[:rank].sqrt()
        a, b = torch.zeros_like(rights[:rank]), torch.zeros_like(lefts[:, :rank])
        a[: len(root)], b[:, : len(root)] = root[:, None] * right[:rank], left[:, :rank] * root
        merged[name_a], merged[name_b] = a.to(first[name_a]), b.to(first[name_b])
        kept += float(values[:rank].square().sum())
        whole += float(values.square().sum())
    return {name: merged[name] for name in first}, kept / whole if whole else 1.0


def _svd_of_product(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of `left @ right`, without ever forming it: `[O, m] @ [m, I]` with small m."""
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    u, values, v = torch.linalg.svd(r_left @ r_right.T, full_matrices=False)
    return q_left @ u, values, v @ q_right.T
