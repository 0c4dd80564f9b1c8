"""An IndRNN layer with ReLU on a CPU, batch norm after it or none, in as few passes over memory as possible.

Forward, one pass computes W x + b, h and its sums, one applies y = a ⊙ h + c; backward, one sums dy and dy ⊙ h, one
runs the recurrence's own backward on dh = p ⊙ dy + q ⊙ h + r, which is never written, and multiplies what comes out
while it is in the cache. Taken apart, the same work reads and writes memory about twice as often, and memory is what
an IndRNN layer waits for.

Shapes: T time, B batch, M input, N neurons; in the kernels h, y, dy, dz (steps, B·N), the others (B·N,) or (k, B·N).
"""

import numpy as np
import torch
from torch import Tensor

from indrnn.products import addmm_, mm
from indrnn.recurrence.cpu import as_numpy, compiled, over_columns, stretches

_STRETCH = 1 << 21  # bytes of one chunk
_STEPS = 4  # rows at once, as in cpu.py


def missing(dtype: torch.dtype) -> str | None:
    """What keeps this machine from using these kernels, None if nothing does. The first call compiles."""
    try:
        for kernel_of in _GIVEN:
            _kernel(kernel_of, dtype, _STEPS)
    except Exception as error:  # as in cpu.missing
        return f"{type(error).__name__}: {error}"
    return None


def forward(
    x: Tensor, W: Tensor | None, b: Tensor | None, u: Tensor, h0: Tensor,
    weight: Tensor | None, bias: Tensor | None, eps: float, scale: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """-> y, h (T, B, N), mean and biased variance of h (N,); see normed. Without weight all but h is empty."""
    T, (B, N) = len(x), h0.shape
    h = x.new_empty(T, B, N)
    rows, u_row, first = as_numpy(h, T, B * N), as_numpy(u.repeat(B), B * N), as_numpy(h0, B * N)
    b_row = as_numpy((torch.zeros_like(u) if b is None else b).repeat(B), B * N)
    sums = np.zeros((2, B * N))  # in float64: the variance is a difference of two large numbers
    zero = rows.dtype.type(0)
    kernel_of, to = (_states, []) if weight is None else (_states_and_sums, [sums])
    for chunk in _chunks(T, h[0]):
        if W is None:
            h[chunk] = x[chunk]
        else:
            mm(x[chunk].reshape(-1, x.shape[2]), W.t(), out=h[chunk].view(-1, N))

        def walk(start: int, stop: int, chunk: slice = chunk) -> None:
            for t, steps in stretches(chunk.start, chunk.stop, _STEPS):
                before = rows[t.start - 1] if t.start else first
                _kernel(kernel_of, x.dtype, steps)(rows[t], b_row, u_row, before, zero, *to, start, stop)

        over_columns(walk, len(rows[chunk]), B * N)
    if weight is None:
        return x.new_empty(0), h, x.new_empty(0), x.new_empty(0)
    y = x.new_empty(T, B, N)
    first_moment, second_moment = torch.from_numpy(sums.reshape(2, B, N).sum(1) / (T * B))
    mean, var = first_moment, (second_moment - first_moment * first_moment).clamp_(min=0)
    gain = weight * (var + eps).rsqrt()
    lines = torch.stack([gain * scale, (bias - gain * mean) * scale]).to(x.dtype)
    out, lines = as_numpy(y, T, B * N), as_numpy(lines, 2, B * N)

    def apply(start: int, stop: int) -> None:
        for t, steps in stretches(0, T, _STEPS):
            _kernel(_line, x.dtype, steps)(rows[t], lines, out[t], start, stop)

    over_columns(apply, T, B * N)
    return y, h, mean.to(x.dtype, copy=True), var.to(x.dtype)


def backward(
    dy: Tensor, x: Tensor, W: Tensor | None, h: Tensor, u: Tensor, h0: Tensor,
    weight: Tensor | None, mean: Tensor, var: Tensor, eps: float, scale: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """-> dx (T, B, M or N), dW (N, M), db (N,), du (N,), dh0 (B, N), dweight, dbias (N,).

    Without W, dW is empty; without weight, ``dy`` is the gradient of h, and dweight and dbias are empty.

    With g = scale ⊙ dy, ĥ = r (h - mean), r = (var + eps)^(-1/2) and means over all K = T·B entries of a neuron,
    dh = weight r (g - mean(g) - ĥ mean(g ⊙ ĥ)), which is one line in dy and h.
    """
    T, B, N = h.shape
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    grad, rows = as_numpy(dy, T, B * N), as_numpy(h, T, B * N)
    dweight = dbias = h.new_zeros(0)
    p, q, r = torch.ones_like(scale), torch.zeros_like(scale), torch.zeros_like(scale)
    if weight is not None:
        p, q, r, dweight, dbias = _through_norm(grad, rows, weight, mean.double(), var.double(), eps, scale.double(), T)
    lines = torch.stack([a.expand(B, N) for a in (u, p, q, r)])
    lines, first, du_db = as_numpy(lines.to(h.dtype), 4, B * N), as_numpy(h0, B * N), np.zeros((2, B * N))
    zero, later = rows.dtype.type(0), np.zeros(B * N, rows.dtype)
    dW = h.new_zeros(0, 0) if W is None else torch.zeros_like(W)
    for chunk in reversed(_chunks(T, h[0])):
        dz = dx[chunk] if W is None else h.new_empty(h[chunk].shape)
        out = as_numpy(dz, len(dz), B * N)

        def walk(start: int, stop: int, chunk: slice = chunk, out: np.ndarray = out, later: np.ndarray = later) -> None:
            for s, steps in reversed(stretches(0, len(out), _STEPS)):
                t = slice(chunk.start + s.start, chunk.start + s.stop)
                before, after = rows[t.start - 1] if t.start else first, out[s.stop] if s.stop < len(out) else later
                given = grad[t], rows[t], lines, before, after, zero, out[s], du_db
                _kernel(_states_backward, h.dtype, steps)(*given, start, stop)

        over_columns(walk, len(out), B * N)
        later = out[0].copy()
        if W is not None:  # while dz is in the cache
            dz = dz.view(-1, N)
            addmm_(dW, dz.t(), x[chunk].reshape(-1, x.shape[2]))
            mm(dz, W, out=dx[chunk].view(-1, x.shape[2]))
    du, db = torch.from_numpy(du_db.reshape(2, B, N).sum(1))
    dh0 = u * torch.from_numpy(later).view(B, N)
    return dx, dW, *(a.to(h.dtype, copy=True) for a in (db, du, dh0, dweight, dbias))


def _through_norm(grad, rows, weight, mean, var, eps, scale, T):
    """p, q, r of the line above, dweight, dbias; statistics and scale in float64."""
    B, N = scale.shape
    sums = np.zeros((2, B * N))

    def walk(start: int, stop: int) -> None:
        for t, steps in stretches(0, T, _STEPS):
            _kernel(_products, weight.dtype, steps)(grad[t], rows[t], sums, start, stop)

    over_columns(walk, T, B * N)
    dbias, with_h = (torch.from_numpy(sums).view(2, B, N) * scale).sum(1)
    deviation = (var + eps).rsqrt()
    dweight = deviation * (with_h - mean * dbias)
    gain, K = weight * deviation, T * B
    q = -gain * deviation * dweight / K
    return gain * scale, q, -gain * dbias / K - q * mean, dweight, dbias


def _chunks(T: int, step: Tensor) -> list[slice]:
    """Time in stretches that fit the L2 cache: what one of them is multiplied with finds it there."""
    steps = max(1, _STRETCH // (step.numel() * step.element_size()))
    return [slice(t, min(t + steps, T)) for t in range(0, T, steps)]


def _kernel(kernel_of, dtype, steps):
    return compiled(kernel_of, _GIVEN[kernel_of], dtype, steps)


# As in cpu_kernels.py, for ``steps`` rows at once.


def _states(steps):
    def kernel(h, b, u, h0, zero, start, stop):  # in place: W x before, h after
        before = h0
        for t in range(0, h.shape[0], steps):
            for i in range(start, stop):
                z = before[i]
                for k in range(steps):
                    z = (h[t + k, i] + b[i]) + u[i] * z
                    z = zero if z <= 0 else z  # this way round a NaN stays a NaN
                    h[t + k, i] = z
            before = h[t + steps - 1]

    return kernel


def _states_and_sums(steps):
    def kernel(h, b, u, h0, zero, sums, start, stop):
        before, first, second = h0, sums[0], sums[1]
        for t in range(0, h.shape[0], steps):
            for i in range(start, stop):
                z, first_i, second_i = before[i], first[i], second[i]
                for k in range(steps):
                    z = (h[t + k, i] + b[i]) + u[i] * z
                    z = zero if z <= 0 else z
                    h[t + k, i] = z
                    first_i += z
                    second_i += z * z
                first[i], second[i] = first_i, second_i
            before = h[t + steps - 1]

    return kernel


def _line(steps):
    def kernel(h, lines, y, start, stop):
        a, c = lines[0], lines[1]
        for t in range(0, h.shape[0], steps):
            for i in range(start, stop):
                for k in range(steps):
                    y[t + k, i] = a[i] * h[t + k, i] + c[i]

    return kernel


def _products(steps):
    def kernel(dy, h, sums, start, stop):
        first, second = sums[0], sums[1]
        for t in range(0, h.shape[0], steps):
            for i in range(start, stop):
                first_i, second_i = first[i], second[i]
                for k in range(steps):
                    first_i += dy[t + k, i]
                    second_i += dy[t + k, i] * h[t + k, i]
                first[i], second[i] = first_i, second_i

    return kernel


def _states_backward(steps):
    def kernel(dy, h, lines, h0, last, zero, dz, du_db, start, stop):
        u, p, q, r, du, db = lines[0], lines[1], lines[2], lines[3], du_db[0], du_db[1]
        later = last
        for t in range(h.shape[0] - steps, -1, -steps):
            before = h[t - 1] if t > 0 else h0
            for i in range(start, stop):
                g, h_k, du_i, db_i = later[i], h[t + steps - 1, i], du[i], db[i]
                for k in range(steps - 1, -1, -1):
                    g = (p[i] * dy[t + k, i] + r[i]) + (q[i] * h_k + u[i] * g)
                    g = zero if h_k <= 0 else g
                    dz[t + k, i] = g
                    h_k = h[t + k - 1, i] if k > 0 else before[i]
                    du_i += g * h_k
                    db_i += g
                du[i], db[i] = du_i, db_i
            later = dz[t]

    return kernel


_GIVEN = {
    _states: "mat,row,row,row,real",
    _states_and_sums: "mat,row,row,row,real,float64[:,::1]",
    _line: "mat,mat,mat",
    _products: "mat,mat,float64[:,::1]",
    _states_backward: "mat,mat,mat,row,row,real,mat,float64[:,::1]",
}
