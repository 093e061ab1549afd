"""Fits agree with scipy's, one by one."""

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit

from grouppose.maps.refinement import fit_gaussians


def gaussian(place, height, x0, y0, sigma):
    x, y = place
    return height * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))


def scipy_fit(values, column, row, radius=6, sigma=2.0):
    rows = np.arange(max(row - radius, 0), min(row + radius + 1, values.shape[0]))
    columns = np.arange(max(column - radius, 0), min(column + radius + 1, values.shape[1]))
    x, y = (grid.ravel() for grid in np.meshgrid(columns, rows))
    start = (values[row, column], column, row, sigma)
    return curve_fit(gaussian, (x, y), values[y, x], p0=start, maxfev=9000, ftol=1e-13, xtol=1e-13)[
        0
    ]


def test_an_exact_gaussian_is_found():
    y, x = np.mgrid[:40, :50]
    values = gaussian((x, y), 0.8, 20.3, 17.6, 2.4).astype(np.float32)
    found, converged = fit_gaussians(
        torch.from_numpy(values)[None], *(torch.tensor([v]) for v in (0, 20, 18))
    )
    assert converged.item()
    assert found[0].tolist() == pytest.approx([0.8, 20.3, 17.6, 2.4], abs=1e-6)


def test_fits_agree_with_scipy_also_at_borders_and_where_nothing_fits_well():
    generator = np.random.default_rng(3)
    y, x = np.mgrid[:40, :50]
    values = np.zeros((40, 50))
    pixels = [(25, 20), (3, 9), (48, 30), (12, 37), (10, 10), (38, 2)]
    for column, row in pixels:
        place = (column + generator.uniform(-0.4, 0.4), row + generator.uniform(-0.4, 0.4))
        values = np.maximum(values, gaussian((x, y), generator.uniform(0.3, 1), *place, 2))
    values = (values + generator.uniform(0, 0.05, values.shape)).astype(np.float32)
    values[20:24, 24:30] += 0.2  # no gaussian
    columns, rows = torch.tensor(pixels).unbind(1)
    found, converged = fit_gaussians(
        torch.from_numpy(values)[None], torch.zeros_like(rows), columns, rows
    )
    assert converged.all()
    for (column, row), mine in zip(pixels, found.numpy(), strict=True):
        expected = scipy_fit(values.astype(np.float64), column, row)
        np.testing.assert_allclose(mine[:3], expected[:3], atol=1e-4)
        assert abs(mine[3]) == pytest.approx(abs(expected[3]), abs=1e-4)


def test_slow_valleys_end_at_their_bottom():
    """Noise without a peak: J'J alone needs over a hundred steps here."""
    values = torch.rand(1, 60, 60, generator=torch.Generator().manual_seed(5)) * 0.3
    values += 0.2 * torch.linspace(0, 1, 60)
    columns, rows = (
        v.flatten() for v in torch.meshgrid(*[torch.arange(8, 52, 9)] * 2, indexing="xy")
    )
    found, converged = fit_gaussians(values, torch.zeros_like(rows), columns, rows)
    agreed = 0
    for i in converged.nonzero().flatten().tolist():
        try:
            expected = scipy_fit(values[0].double().numpy(), int(columns[i]), int(rows[i]))
        except RuntimeError:
            continue
        if np.abs(expected[1:3] - [columns[i], rows[i]]).max() < 6:
            np.testing.assert_allclose(found[i, 1:3].numpy(), expected[1:3], atol=5e-3)
            agreed += 1
    assert agreed >= 5


def test_no_pixels_no_fits():
    none = torch.zeros(0, dtype=torch.int64)
    found, converged = fit_gaussians(torch.rand(2, 20, 20), none, none, none)
    assert found.shape == (0, 4) and converged.shape == (0,)
