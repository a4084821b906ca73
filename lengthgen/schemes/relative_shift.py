"""Scores by offset become scores by key without a gather: one pad and one reshape.

For schemes whose scores depend on the query and the offset (Shaw, Transformer-XL).

Source: the "skew" of Huang et al., "Music Transformer" (ICLR 2019), section 3.4.1, and
Transformer-XL's relative shift (Dai et al., ACL 2019, appendix B); here for some query rows, and
with offsets that grow with distance.
Shape letters: B sequences, H heads, R query rows, S keys, O offsets.
"""

import torch
from torch import Tensor
from torch.nn import functional


def by_key(values: Tensor, keys: int) -> Tensor:
    """values (..., R, O) by offset -> (..., R, S) by key, O <= S.

    The rows are the last R of S = `keys` queries: row r is query S - R + r. Offsets past O - 1 read
    entry O - 1. Entries of keys that are later than the query are undefined.
    """
    rows, offsets = values.shape[-2:]
    far = values[..., -1:].expand(*values.shape[:-1], keys - offsets)
    newest_last = torch.cat((far, values.flip(-1)), dim=-1)
    # Row r starts R - 1 - r entries too early. One padded entry a row, dropped by reading rows of
    # the unpadded length from the flat tensor, moves each row one entry further than the last.
    flat = functional.pad(newest_last, (0, 1)).flatten(-2)
    return flat[..., rows - 1 : rows - 1 + rows * keys].unflatten(-1, (rows, keys))
