"""How the sums of a registration lie in memory: the kernel fills them, the solver reads them."""

from __future__ import annotations

N_UNKNOWNS = 8
"""dy, dy/dy, dy/dx, dx, dx/dy, dx/dx, gain, offset."""

N_SUMS = N_UNKNOWNS * (N_UNKNOWNS + 1) // 2 + N_UNKNOWNS + 2
"""Upper triangle of the normal matrix, right-hand side, sum of squares of the fixed image, number of pixels."""
