"""People from the maps that an exported bottom-up network gives; needs numpy only.

session = onnxruntime.InferenceSession("model.onnx")
maps = session.run(None, {"images": picture})     # (1, 3, H, W) uint8 RGB, H and W as exported
people = decode(*(m[0] for m in maps))            # keypoints (n, K, 2) px of the picture, best
                                                  # first; confidence (n, K), scores (n,)
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
SETTINGS: dict = {}  # filled in by the export


def decode(
    heatmaps: Array, offsets: Array, fine: Array | None = None, settings: dict | None = None
) -> dict[str, Array]:
    """The people of one picture.

    Args:
        heatmaps: (K + 1, h, w), the centre's last.
        offsets: (2K, h, w), cell - keypoint in cells.
        fine: (K, 2 h, 2 w) heatmaps, if the model gives them.
        settings: of decoding, in place of those of the export.
    """
    s, stride, count = settings or SETTINGS, 4, len(offsets) // 2
    if fine is not None:
        heatmaps, stride = upsample(heatmaps, 2), 2
        heatmaps = np.concatenate([(heatmaps[:count] + fine) / 2, heatmaps[count:]])
    height, width = heatmaps.shape[1:]
    mean = (height + width) / 2
    window = 7 if mean > 300 else 5 if mean > 200 else 3
    x, y, scores = (v[0] for v in peaks(heatmaps[-1:], window, s["max_people"]))
    kept = scores > s["keypoint_threshold"]
    x, y, scores = x[kept], y[kept], scores[kept]
    shrink = 4 // stride  # cells of offsets are 4 pixels wide
    cells = np.stack([x, y], -1) // shrink
    shift = offsets[:, cells[:, 1], cells[:, 0]].reshape(count, 2, -1).transpose(2, 0, 1)
    keypoints = 4 * (cells[:, None] - shift).astype(np.float64)
    fused = upsample(heatmaps, stride)
    heat = floor_values(fused, keypoints)
    ranking = heat.mean(1) if s["relative"] else scores
    kept = suppress(keypoints, ranking, s)
    keypoints, scores, heat = keypoints[kept], scores[kept], heat[kept]
    confidence = scores[:, None] * (heat if s["relative"] else bilinear(fused, keypoints))
    if s["match_heatmaps"]:
        keypoints, values = match(fused, keypoints, s)
        matched = confidence if s["relative"] else scores[:, None] * values
        keypoints, heights, fits = refine(fused, keypoints, matched, s)
        confidence = (
            matched if s["relative"] else np.where(fits, heights * scores[:, None], matched)
        )
    means = confidence.mean(1)
    order = np.argsort(-means, kind="stable")
    return {"keypoints": keypoints[order], "confidence": confidence[order], "scores": means[order]}


def upsample(maps: Array, r: int) -> Array:
    """Cell i becomes pixel r i, linear in between; the last one is repeated."""
    for axis in (-1, -2):
        maps = np.moveaxis(maps, axis, -1)
        after = np.concatenate([maps[..., 1:], maps[..., -1:]], -1)
        steps = [maps + np.float32(j / r) * (after - maps) for j in range(r)]
        maps = np.stack(steps, -1).reshape(*maps.shape[:-1], -1)
        maps = np.moveaxis(maps, -1, axis)
    return maps


def peaks(maps: Array, window: int, count: int) -> tuple[Array, Array, Array]:
    """The best maxima of their windows: (C, count) x, y and values, 0 where there are fewer."""
    highest = maps
    for axis in (1, 2):
        sides = [(0, 0), (0, 0), (0, 0)]
        sides[axis] = (window // 2, window // 2)
        around = np.pad(highest, sides, constant_values=-np.inf)
        shifts = [np.take(around, range(i, i + maps.shape[axis]), axis) for i in range(window)]
        highest = np.maximum.reduce(shifts)
    found = np.zeros((3, len(maps), count))
    for c, (values, best) in enumerate(zip(maps, highest, strict=True)):
        y, x = np.nonzero((values == best) & (values > 0))
        order = np.argsort(-values[y, x], kind="stable")[:count]
        found[:, c, : len(order)] = x[order], y[order], values[y, x][order]
    return found[0].astype(int), found[1].astype(int), found[2]


def suppress(keypoints: Array, ranking: Array, s: dict) -> Array:
    """Who is kept: the best of each group of poses that have many close keypoints."""
    distance = np.linalg.norm(keypoints[:, None] - keypoints[None], axis=-1)
    reach = np.full(len(keypoints), s["nms_distance"], float)
    if s["relative"]:
        reach = reach * np.linalg.norm(np.ptp(keypoints, axis=1), axis=-1)
    close = (distance < reach[:, None, None]).sum(-1) > s["nms_keypoints"]
    close |= np.eye(len(keypoints), dtype=bool)
    marked, kept = np.zeros(len(keypoints), bool), []
    for i, group in enumerate(close):
        best = int(np.where(group, ranking, -np.inf).argmax())
        if not marked[i] and not marked[best]:
            kept.append(best)
            marked |= group
    kept = np.array(kept, int)
    if len(kept) > s["max_people"]:
        kept = kept[np.argsort(-ranking[kept], kind="stable")[: s["max_people"]]]
    return kept


def values_at(maps: Array, x: Array, y: Array) -> Array:
    """(n, K) values of each keypoint's map, moved to the border."""
    height, width = maps.shape[1:]
    channel = np.arange(x.shape[1])
    return maps[channel, np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)].astype(np.float64)


def floor_values(maps: Array, keypoints: Array) -> Array:
    """(n, K) values of the pixels that keypoints are in, moved to the border."""
    return values_at(maps, *np.floor(keypoints).astype(int).transpose(2, 0, 1))


def bilinear(maps: Array, keypoints: Array) -> Array:
    """Values between pixels found by truncation; 0 where these are not all on the map."""
    height, width = maps.shape[1:]
    x, y = np.trunc(keypoints).astype(int).transpose(2, 0, 1)
    u, v = (keypoints - np.trunc(keypoints)).transpose(2, 0, 1)
    value = (1 - v) * ((1 - u) * values_at(maps, x, y) + u * values_at(maps, x + 1, y))
    value += v * ((1 - u) * values_at(maps, x, y + 1) + u * values_at(maps, x + 1, y + 1))
    return np.where((x >= 0) & (y >= 0) & (x + 1 < width) & (y + 1 < height), value, 0)


def match(maps: Array, keypoints: Array, s: dict) -> tuple[Array, Array]:
    """Keypoints at their nearest peak, and the values there; where none is near, as they were."""
    count = keypoints.shape[1]
    x, y, values = peaks(maps[:count], 5, s["max_people"])
    distance = np.linalg.norm(keypoints[:, :, None] - np.stack([x, y], -1), axis=-1)
    distance = np.where(values > 0, distance, np.inf)
    index, channel = distance.argmin(-1), np.arange(count)
    near = distance.min(-1, initial=np.inf) < s["max_absorb_distance"]
    places = np.stack([x[channel, index], y[channel, index]], -1)
    value = values[channel, index]
    value = np.where(value > s["keypoint_threshold"], value, 0)
    own = keypoints.astype(int).transpose(2, 0, 1)
    far = values_at(maps, *(own[::-1] if s["exchanged_heat"] else own))
    return np.where(near[..., None], places, keypoints), np.where(near, value, far)


def refine(maps: Array, keypoints: Array, confidence: Array, s: dict) -> tuple[Array, Array, Array]:
    """Least-squares gaussians around confident keypoints: places, heights and where they fit."""
    height, width = maps.shape[1:]
    radius, sigma = s["gaussian_kernel"], s["gaussian_sigma"]
    x, y = np.trunc(keypoints + 0.5).astype(int).transpose(2, 0, 1)
    wanted = confidence > s["adjust_threshold"]
    if s["relative"]:
        x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    else:
        wanted &= (x > 0) & (y > 0) & (x < width - 1) & (y < height - 1)
    fits, heights, places = np.zeros(wanted.shape, bool), np.zeros(wanted.shape), keypoints.copy()
    channel = np.broadcast_to(np.arange(wanted.shape[1]), wanted.shape)[wanted]
    px, py = x[wanted], y[wanted]
    reach = np.arange(-radius, radius + 1)
    gx, gy = px[:, None] + reach, py[:, None] + reach
    inside = ((gy >= 0) & (gy < height))[:, :, None] & ((gx >= 0) & (gx < width))[:, None]
    data = np.pad(maps, [(0, 0), (radius,) * 2, (radius,) * 2])
    data = data[channel[:, None, None], (gy + radius)[:, :, None], (gx + radius)[:, None]] * inside
    p = np.stack([data[:, radius, radius], 0 * px, 0 * py, 0 * px + sigma], 1).astype(float)
    damping, (jacobian, rest) = np.ones(len(p)), residual(data, inside, reach, p)
    for _ in range(60):
        hessian = jacobian.transpose(0, 2, 1) @ jacobian
        damped = damping[:, None] * np.maximum(np.diagonal(hessian, axis1=1, axis2=2), 1e-12)
        gradient = jacobian.transpose(0, 2, 1) @ rest[..., None]
        step = np.linalg.solve(hessian + damped[:, :, None] * np.eye(4), gradient)[..., 0]
        tried = residual(data, inside, reach, p + step)
        better = (tried[1] ** 2).sum(1) <= (rest**2).sum(1)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-12, 1e12)
        p = np.where(better[:, None], p + step, p)
        jacobian = np.where(better[:, None, None], tried[0], jacobian)
        rest = np.where(better[:, None], tried[1], rest)
        small = (np.abs(step) <= 1e-6 * (np.abs(p) + 1)).all(1)
        if small.all():
            break
    else:
        small = (np.abs(step) <= 1e-3).all(1)
    good = small & (p[:, 0] > 0) & (np.abs(p[:, 1:3]) <= radius).all(1)
    fits[wanted], heights[wanted] = good, p[:, 0]
    places[fits] = (p[:, 1:3] + np.stack([px, py], 1))[good]
    return places, heights, fits


def residual(data: Array, inside: Array, reach: Array, p: Array) -> tuple[Array, Array]:
    """Derivatives (n, cells, 4) and what is left of the data (n, cells)."""
    a, x0, y0, sigma = (v[:, None, None] for v in p.T)
    dx, dy = reach[None, None] - x0, reach[None, :, None] - y0
    curve = np.exp(-(dx**2 + dy**2) / (2 * sigma**2)) * inside
    slope = a * curve / sigma**2
    parts = [curve, slope * dx, slope * dy, slope * (dx**2 + dy**2) / sigma]
    flat = (len(p), len(reach) ** 2)
    return np.stack([part.reshape(flat) for part in parts], -1), (data - a * curve).reshape(flat)
