"""The kernels of `walk.py`: one column (b, n) per lane, one chunk of time per program, several loads in flight.

    h_t = σ(x_t + u ⊙ h_{t-1}),   dz_t = σ'_t ⊙ (dh_t + u ⊙ dz_{t+1})

What a step reads is known long before the step before it is done, so the loads of AHEAD steps are issued together and
the memory is waited for once instead of AHEAD times. Offsets are int64: T·B·N may pass 2^31.

Shapes: T time, B batch, N neurons, C chunks of time; x, h, dh, dx (T, B·N), u (N,), h0 (B·N,), starts, ends, du
(C, B·N).
"""

import triton
import triton.language as tl

# Sizes are numbers, never compiled in: one compilation serves every length and width.
SIZES = ["begin", "chunk", "chunks", "T", "columns", "N"]


@triton.jit
def activate(z, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr):
    if ACTIVATION == "relu":
        h = tl.where(z <= 0, 0.0, z)  # this way round a NaN stays a NaN
    elif ACTIVATION == "leaky_relu":
        h = tl.where(z > 0, z, SLOPE * z)
    elif ACTIVATION == "tanh":
        h = _tanh(z)
    else:
        h = z
    return h


@triton.jit
def pull_back(g, h, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr):
    """σ'(z) ⊙ g with h = σ(z), selected where the reference selects."""
    if ACTIVATION == "relu":
        dz = tl.where(h <= 0, 0.0, g)
    elif ACTIVATION == "leaky_relu":
        dz = tl.where(h > 0, g, SLOPE * g)
    elif ACTIVATION == "tanh":
        dz = g * (1.0 - h * h)
    else:
        dz = g
    return dz


@triton.jit
def _tanh(z):
    """(1 - e) / (1 + e), e = exp(-2|z|), with its sign; near 0, where 1 - e cancels, the series of tanh up to z^9."""
    size = tl.abs(z)
    e = tl.exp(-2.0 * size)
    s = z * z
    series = size * (1.0 - s * (1 / 3 - s * (2 / 15 - s * (17 / 315 - s * (62 / 2835)))))
    near: tl.constexpr = 0.05 if z.dtype == tl.float64 else 0.3  # where both are equally wrong
    size = tl.where(size < near, series, (1.0 - e) / (1.0 + e))
    return tl.where(z < 0, -size, size)


@triton.jit(do_not_specialize=SIZES)
def walk(
    x, u, starts, h, begin, chunk, T, columns, N,
    ACTIVATION: tl.constexpr, SLOPE: tl.constexpr, AHEAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes h of the steps begin + c·chunk to begin + (c + 1)·chunk, from the state starts[c] before them."""
    c = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = column < columns
    weight = tl.load(u + column % N, mask=inside, other=0.0)
    state = tl.load(starts + c * columns + column, mask=inside, other=0.0)
    start = begin + c * chunk
    steps = tl.minimum(chunk, T - start)
    read = column + start * columns
    write = read
    for j in range(0, steps, AHEAD):
        inputs = ()
        for k in tl.static_range(AHEAD):
            inputs = inputs + (tl.load(x + read, mask=inside & (j + k < steps), other=0.0),)
            read += columns
        for k in tl.static_range(AHEAD):
            state = activate(inputs[k] + weight * state, ACTIVATION, SLOPE)
            tl.store(h + write, state, mask=inside & (j + k < steps))
            write += columns


@triton.jit(do_not_specialize=SIZES)
def walk_back(
    dh, h, u, h0, ends, dx, du, chunk, T, columns, N,
    ACTIVATION: tl.constexpr, SLOPE: tl.constexpr, AHEAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes dx = dz of chunk c from ends[c], the dz after it, and its part of Σ dz_t h_{t-1}, summed in float64."""
    c = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = column < columns
    weight = tl.load(u + column % N, mask=inside, other=0.0)
    first = tl.load(h0 + column, mask=inside, other=0.0)
    dz = tl.load(ends + c * columns + column, mask=inside, other=0.0)
    start = c * chunk
    steps = tl.minimum(chunk, T - start)
    read = column + (start + steps - 1) * columns
    write = read
    state = tl.load(h + read, mask=inside, other=0.0)
    total = tl.zeros([BLOCK], tl.float64)
    for j in range(0, steps, AHEAD):
        grads, befores = (), ()
        for k in tl.static_range(AHEAD):
            left = steps - (j + k)  # steps of the chunk still to go
            there = inside & (left > 0)
            grads = grads + (tl.load(dh + read, mask=there, other=0.0),)
            before = tl.load(h + read - columns, mask=there & (start + left > 1), other=0.0)
            befores = befores + (tl.where(start + left > 1, before, first),)
            read -= columns
        for k in tl.static_range(AHEAD):
            dz = pull_back(grads[k] + weight * dz, state, ACTIVATION, SLOPE)
            tl.store(dx + write, dz, mask=inside & (j + k < steps))
            total += tl.where(j + k < steps, dz * befores[k], 0.0).to(tl.float64)
            state = befores[k]
            write -= columns
    tl.store(du + c * columns + column, total, mask=inside)
