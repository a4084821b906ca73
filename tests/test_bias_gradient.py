"""The gradient of a bias, by triton_bias.py (interpreted) and torch_bias.py, against autograd."""

import pytest
import torch
from torch import Tensor

from lengthgen.attention.kernels import offsets, reference, torch_bias

from .attention_cases import assert_close, definition, interpreted

LENGTHS = (1, 2, 15, 16, 17, 33, 49)


@pytest.mark.parametrize("length", LENGTHS)
def test_plain_torch_gives_the_bias_gradient(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_bias, "SCORES_AT_ONCE", 7 * 6 * length)  # chunks of 7 rows
    common, vector, matrix, dvector, dmatrix = definition(torch.float64, 3, 2, length, 16, 0.25)
    assert_close([torch_bias.vector_gradient(*common, vector.double(), 0.25)], [dvector], 1e-12)
    assert_close([torch_bias.matrix_gradient(*common, matrix, 0.25)], [dmatrix], 1e-12)


@interpreted
@pytest.mark.parametrize("length", LENGTHS)
def test_triton_gives_the_bias_gradient_at_ragged_lengths(length: int) -> None:
    from lengthgen.attention.kernels import triton_bias

    for tile in ((16, 16), (32, 16)):
        common, vector, matrix, dvector, dmatrix = definition(torch.float32, 2, 2, length, 16, 0.25)
        for ordered in (True, False):
            assert_close(
                [triton_bias.vector_gradient(*common, vector, 0.25, ordered=ordered, tile=tile)],
                [dvector],
                5e-6,
            )
        assert_close(
            [triton_bias.matrix_gradient(*common, matrix, 0.25, tile=tile)], [dmatrix], 5e-6
        )


@interpreted
@pytest.mark.parametrize("size", [16, 20, 33, 64, 80, 128])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float16, 5e-3)]
)  # its bfloat16 products are wrong
def test_triton_gives_the_bias_gradient_for_head_sizes_and_dtypes(
    size: int, dtype: torch.dtype, tolerance: float
) -> None:
    from lengthgen.attention.kernels import triton_bias

    scale = 1.0 if size == 16 else size**-0.5  # T5's 1
    common, vector, matrix, dvector, dmatrix = definition(dtype, 2, 1, 70, size, scale)
    assert_close([triton_bias.vector_gradient(*common, vector, scale)], [dvector], tolerance)
    assert_close([triton_bias.matrix_gradient(*common, matrix, scale)], [dmatrix], tolerance)


@interpreted
@pytest.mark.parametrize("programs", [1, 5, 25, 10**6])
def test_the_work_may_be_cut_anywhere(programs: int) -> None:
    from lengthgen.attention.kernels import triton_bias

    common, vector, _, dvector, _ = definition(torch.float32, 3, 2, 34, 16, 0.25)
    for ordered in (True, False):
        given = triton_bias.vector_gradient(
            *common, vector, 0.25, ordered=ordered, tile=(16, 16), programs=programs
        )
        assert_close([given], [dvector], 5e-6)


@interpreted
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (32, 16), (64, 16)])
def test_a_schedule_names_every_tile_of_every_sequence_once(rows: int, columns: int) -> None:
    from lengthgen.attention.kernels import triton_bias

    for length in (1, 16, 17, 100):
        for n_programs in (0, 3, 1000):
            schedule, starts = triton_bias._schedule(
                length, 4, n_programs, rows, columns, torch.device("cpu")
            )
            seen = []
            for m, n, count, first, last in schedule.tolist():
                seen += [
                    (item // count, m + item % count, n + item % count * (rows // columns))
                    for item in range(first, last)
                ]
            visible = [
                (b, m, n)
                for b in range(4)
                for m in range(-(-length // rows))
                for n in range(-(-length // columns))
                if m * rows + rows - 1 >= n * columns
            ]
            assert sorted(seen) == visible
            assert starts[0] == 0
            assert starts[-1] == len(schedule)


@interpreted
def test_triton_knows_windows_and_strides_and_repeats_itself() -> None:
    from lengthgen.attention.kernels import triton_bias

    common, vector, _, dvector, _ = definition(torch.float32, 2, 2, 50, 16, 0.25, window=20)
    common = [
        *common[:5],
        common[5].transpose(2, 3).contiguous().transpose(2, 3),
    ]  # its last axis is not contiguous
    first, second = (
        triton_bias.vector_gradient(*common, vector, 0.25, tile=(16, 16)) for _ in range(2)
    )
    assert_close([first], [dvector], 5e-6)
    assert torch.equal(first, second)
    assert (first[:, 20:] == 0).all()


@interpreted
def test_triton_has_the_gradient_of_finite_differences() -> None:
    from lengthgen.attention.kernels import triton_bias

    common, vector, _, _, _ = definition(torch.float32, 2, 1, 19, 16, 0.25)
    q, k, v, _, _, grad = (x.double() for x in common)
    given = triton_bias.vector_gradient(*common, vector, 0.25, tile=(16, 16))

    def value(changed: Tensor) -> Tensor:
        return (reference.attend(q, k, v, offsets.dense(changed), 0.25) * grad).sum()

    for offset in range(19):
        step = torch.zeros(1, 19, dtype=torch.float64)
        step[0, offset] = 1e-5
        difference = (value(vector.double() + step) - value(vector.double() - step)) / 2e-5
        assert given[0, offset].item() == pytest.approx(difference.item(), abs=1e-5)
