"""Scores by offset become scores by key, without a gather: one pad and one reshape.

A leaf, shared by the schemes whose scores depend on the query and the offset alone (Shaw, Transformer-XL).

Source: the "skew" of Huang et al., "Music Transformer" (ICLR 2019), section 3.4.1, and Transformer-XL's relative shift (Dai et al., ACL
2019, appendix B); here for some rows of queries and offsets that grow with distance.

Shape letters: B batch, H heads, R rows of queries, S keys, O offsets.
"""

import torch
from torch import Tensor
from torch.nn import functional


def by_key(values: Tensor, keys: int) -> Tensor:
    """values (..., R, O), entry (r, n) for offset n, O <= S -> (..., R, S), entry (r, j) for key j = S - R + r - n.

    The rows are the last R of S = `keys` queries. Offsets from O - 1 on read entry O - 1. Where a key is later than the query: rubbish.
    """
    rows, offsets = values.shape[-2:]
    far = values[..., -1:].expand(*values.shape[:-1], keys - offsets)
    newest_last = torch.cat((far, values.flip(-1)), dim=-1)
    # Row r begins R - 1 - r entries too early; a row that is one longer than what is read of it
    # makes up for that, one a row.
    flat = functional.pad(newest_last, (0, 1)).flatten(-2)
    return flat[..., rows - 1 : rows - 1 + rows * keys].unflatten(-1, (rows, keys))
