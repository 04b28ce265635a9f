"""R-hat and bulk ESS of fixed chains by ArviZ 0.23.4: the values of ../../src/diagnostics.rs. Run with numpy and arviz installed."""

import arviz
import numpy


def chains(phi, shift, count=4, draws=101):
    """AR(1) chains from a fixed linear congruence, so that every language can make them."""
    state, out = 12345, []
    for chain in range(count):
        value, own = 0.0, []
        for _ in range(draws):
            state = (1103515245 * state + 12345) % 2**31
            value = phi * value + (state / 2**31 - 0.5)
            own.append(value + shift * chain)
        out.append(own)
    return numpy.array(out)


for phi, shift in [(0.0, 0.0), (0.9, 0.0), (0.5, 0.2), (-0.6, 0.0)]:
    own = chains(phi, shift)
    print(phi, shift, repr(float(arviz.rhat(own, method="rank"))), repr(float(arviz.ess(own, method="bulk"))))
