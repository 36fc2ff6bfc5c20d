"""Transposed convolution's sums: every row equals plain loops within equation (2) of docs/numerics.md."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import assert_within, both, floats, gamma, rows_of

# channels, input, output, kernel, stride, dilation, padding (top, left)
CASES = [
    (1, (1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (0, 0)),
    (3, (5, 7), (7, 9), (3, 3), (1, 1), (1, 1), (0, 0)),
    (2, (9, 33), (18, 66), (4, 4), (2, 2), (1, 1), (1, 1)),
    (2, (4, 17), (9, 36), (3, 3), (2, 2), (1, 1), (1, 0)),
    (1, (6, 20), (20, 70), (2, 5), (3, 4), (1, 1), (0, 7)),
    (2, (3, 8), (11, 40), (3, 3), (2, 3), (3, 4), (1, 2)),
    (1, (2, 2), (9, 50), (2, 2), (1, 1), (1, 1), (0, 0)),
    (1, (1, 40), (1, 81), (1, 2), (1, 2), (1, 1), (0, 0)),
]


@pytest.mark.parametrize("row", rows_of("col2im"))
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("edge", [False, True])
def test_col2im(row, case, edge):
    channels, size, out, kernel, stride, dilation, pads = case
    columns = floats(1, channels, *kernel, *size)
    sizes = {
        "channels": channels, "in_h": size[0], "in_w": size[1], "out_h": out[0], "out_w": out[1],
        "kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": stride[0], "stride_w": stride[1],
        "dilation_h": dilation[0], "dilation_w": dilation[1], "pad_top": pads[0], "pad_left": pads[1],
    }  # fmt: skip
    extra = {"bias": floats(2, channels), "low": -1.0, "high": 1.0} if edge else {}
    got, wanted = both(row, (channels, *out), columns=columns, **sizes, **extra)
    terms = kernel[0] * kernel[1] + 1
    assert_within(got, wanted, gamma(terms) * terms * np.abs(columns).max() + gamma(1) * 4)
