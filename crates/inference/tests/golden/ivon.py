"""Steps of IVON in f64, from the formulas of arXiv 2402.17641, algorithm 1, for `ivon.rs`.

Run: python3 ivon.py > ivon.json   (numpy 2.4; any version gives the same numbers but for the last digits)

Gradients and noise are made here; nothing of the authors' package is needed. Its constants are spelled out: with `rescaled` the rate is
multiplied by h0 + delta, as the package does and the paper does not.
"""

import json

import numpy as np

rng = np.random.default_rng(7)
STEPS, SHAPE = 6, (2, 3)


def numbers(array):
    """Nine digits: the test compares f32."""
    return [float(f"{value:.9g}") for value in array.ravel()]


def case(name, rate, beta1, beta2, decay, sample_size, h0, radius, debiased, rescaled):
    mean = rng.normal(size=SHAPE)
    start = mean.copy()
    momentum = np.zeros(SHAPE)
    curvature = np.full(SHAPE, h0)
    steps = []
    for t in range(1, STEPS + 1):
        factor = 1.0 - (t - 1) / STEPS
        sigma = 1.0 / np.sqrt(sample_size * (curvature + decay))
        noise = sigma * rng.normal(size=SHAPE)
        theta = mean + noise
        # Any gradient will do: that of a quartic with a tilt.
        gradient = 0.3 * theta**3 + np.sin(np.arange(6).reshape(SHAPE) + t)
        momentum = beta1 * momentum + (1 - beta1) * gradient
        estimate = gradient * noise / sigma**2
        curvature = (
            beta2 * curvature
            + (1 - beta2) * estimate
            + 0.5 * (1 - beta2) ** 2 * (curvature - estimate) ** 2 / (curvature + decay)
        )
        corrected = momentum / (1 - beta1**t) if debiased else momentum
        direction = (corrected + decay * mean) / (curvature + decay)
        if radius is not None:
            direction = np.clip(direction, -radius, radius)
        scale = h0 + decay if rescaled else 1.0
        mean = mean - rate * factor * scale * direction
        steps.append(
            {
                "factor": factor,
                "gradient": numbers(gradient),
                "by_log_sd": numbers(gradient * noise),
                "mean": numbers(mean),
                "sd": numbers(1.0 / np.sqrt(sample_size * (curvature + decay))),
            }
        )
    return {
        "name": name,
        "rate": rate,
        "beta1": beta1,
        "beta2": beta2,
        "decay": decay,
        "sample_size": sample_size,
        "initial_curvature": h0,
        "clip_radius": radius,
        "debiased": debiased,
        "rescaled": rescaled,
        "shape": list(SHAPE),
        "start": numbers(start),
        "steps": steps,
    }


cases = [
    case("the package's", 0.1, 0.9, 0.995, 1e-4, 96.0, 1.0, None, True, True),
    case("the paper's, clipped", 0.03, 0.8, 0.9, 1e-2, 40.0, 0.5, 0.4, True, False),
    case("biased, fast curvature", 0.05, 0.9, 0.5, 0.1, 10.0, 2.0, None, False, True),
]
print(json.dumps({"numpy": np.__version__, "cases": cases}))
