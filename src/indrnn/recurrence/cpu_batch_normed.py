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

from indrnn.recurrence.cpu import as_numpy, compiled, over_columns

_STRETCH = 1 << 21  # bytes of one chunk


def missing(dtype: torch.dtype) -> str | None:
    """What keeps this machine from using these kernels, None if nothing does. The first call compiles."""
    try:
        for function in _SIGNATURES:
            _kernel(function, dtype)
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
    rows, u_row, before = as_numpy(h, T, B * N), as_numpy(u.repeat(B), B * N), as_numpy(h0, B * N)
    b_row = as_numpy((torch.zeros_like(u) if b is None else b).repeat(B), B * N)
    sums = np.zeros((2, B * N))  # in float64: the variance is a difference of two large numbers
    zero, kernel = rows.dtype.type(0), _kernel(_states if weight is None else _states_and_sums, x.dtype)
    for steps in _chunks(T, h[0]):
        if W is None:
            h[steps] = x[steps]
        else:
            torch.mm(x[steps].reshape(-1, x.shape[2]), W.t(), out=h[steps].view(-1, N))
        given = rows[steps], b_row, u_row, before, zero, *([] if weight is None else [sums])
        over_columns(lambda start, stop, given=given: kernel(*given, start, stop), T, B * N)
        before = rows[steps][-1]
    if weight is None:
        return x.new_empty(0), h, x.new_empty(0), x.new_empty(0)
    y = x.new_empty(T, B, N)
    first, second = torch.from_numpy(sums.reshape(2, B, N).sum(1) / (T * B))
    mean, var = first, (second - first * first).clamp_(min=0)
    gain = weight * (var + eps).rsqrt()
    lines = torch.stack([gain * scale, (bias - gain * mean) * scale]).to(x.dtype)
    out, lines, kernel = as_numpy(y, T, B * N), as_numpy(lines, 2, B * N), _kernel(_line, x.dtype)
    over_columns(lambda start, stop: kernel(rows, lines, out, start, stop), T, B * N)
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
    zero, later, kernel = rows.dtype.type(0), np.zeros(B * N, rows.dtype), _kernel(_states_backward, h.dtype)
    dW = h.new_zeros(0, 0) if W is None else torch.zeros_like(W)
    for steps in reversed(_chunks(T, h[0])):
        dz = dx[steps] if W is None else h.new_empty(h[steps].shape)
        out = as_numpy(dz, len(dz), B * N)
        given = (
            grad[steps],
            rows[steps],
            lines,
            rows[steps.start - 1] if steps.start else first,
            later,
            zero,
            out,
            du_db,
        )
        over_columns(lambda start, stop, given=given: kernel(*given, start, stop), T, B * N)
        later = out[0].copy()
        if W is not None:  # while dz is in the cache
            dz = dz.view(-1, N)
            dW.addmm_(dz.t(), x[steps].reshape(-1, x.shape[2]))
            torch.mm(dz, W, out=dx[steps].view(-1, x.shape[2]))
    du, db = torch.from_numpy(du_db.reshape(2, B, N).sum(1))
    dh0 = u * torch.from_numpy(later).view(B, N)
    return dx, dW, *(a.to(h.dtype, copy=True) for a in (db, du, dh0, dweight, dbias))


def _through_norm(grad, rows, weight, mean, var, eps, scale, T):
    """p, q, r of the line above, dweight, dbias; statistics and scale in float64."""
    B, N = scale.shape
    sums, kernel = np.zeros((2, B * N)), _kernel(_products, torch.from_numpy(rows).dtype)
    over_columns(lambda start, stop: kernel(grad, rows, sums, start, stop), T, B * N)
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


def _kernel(function, dtype):
    real = {torch.float32: "float32", torch.float64: "float64"}[dtype]
    signature = _SIGNATURES[function].replace("row", f"{real}[::1]").replace("mat", f"{real}[:,::1]")
    return compiled(function, f"void({signature.replace('real', real)},int64,int64)")


def _states(h, b, u, h0, zero, start, stop):  # in place: W x before, h after
    b, u, before = b[start:stop], u[start:stop], h0[start:stop]
    for t in range(h.shape[0]):
        h_t = h[t][start:stop]
        for i in range(u.shape[0]):
            z = (h_t[i] + b[i]) + u[i] * before[i]
            h_t[i] = zero if z <= 0 else z  # this way round a NaN stays a NaN
        before = h_t


def _states_and_sums(h, b, u, h0, zero, sums, start, stop):
    b, u, before = b[start:stop], u[start:stop], h0[start:stop]
    first, second = sums[0][start:stop], sums[1][start:stop]
    for t in range(h.shape[0]):
        h_t = h[t][start:stop]
        for i in range(u.shape[0]):
            z = (h_t[i] + b[i]) + u[i] * before[i]
            z = zero if z <= 0 else z
            h_t[i] = z
            first[i] += z
            second[i] += z * z
        before = h_t


def _line(h, lines, y, start, stop):
    a, c = lines[0][start:stop], lines[1][start:stop]
    for t in range(h.shape[0]):
        h_t, y_t = h[t][start:stop], y[t][start:stop]
        for i in range(a.shape[0]):
            y_t[i] = a[i] * h_t[i] + c[i]


def _products(dy, h, sums, start, stop):
    first, second = sums[0][start:stop], sums[1][start:stop]
    for t in range(h.shape[0]):
        dy_t, h_t = dy[t][start:stop], h[t][start:stop]
        for i in range(first.shape[0]):
            first[i] += dy_t[i]
            second[i] += dy_t[i] * h_t[i]


def _states_backward(dy, h, lines, h0, last, zero, dz, du_db, start, stop):
    u, p, q, r = lines[0][start:stop], lines[1][start:stop], lines[2][start:stop], lines[3][start:stop]
    du, db, later = du_db[0][start:stop], du_db[1][start:stop], last[start:stop]
    for t in range(h.shape[0] - 1, -1, -1):
        dy_t, h_t, dz_t = dy[t][start:stop], h[t][start:stop], dz[t][start:stop]
        before = h[t - 1][start:stop] if t > 0 else h0[start:stop]
        for i in range(u.shape[0]):
            g = (p[i] * dy_t[i] + r[i]) + (q[i] * h_t[i] + u[i] * later[i])
            g = zero if h_t[i] <= 0 else g
            dz_t[i] = g
            du[i] += g * before[i]
            db[i] += g
        later = dz_t


_SIGNATURES = {
    _states: "mat,row,row,row,real",
    _states_and_sums: "mat,row,row,row,real,float64[:,::1]",
    _line: "mat,mat,mat",
    _products: "mat,mat,float64[:,::1]",
    _states_backward: "mat,mat,mat,row,row,real,mat,float64[:,::1]",
}
