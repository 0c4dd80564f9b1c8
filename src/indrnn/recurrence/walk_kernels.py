"""The kernels of `walk.py`: one column (b, n) per lane, one chunk of time per program, several rounds in flight.

    h_t = σ(x_t + u ⊙ h_{t-1}),   dz_t = σ'_t ⊙ (dh_t + u ⊙ dz_{t+1})

What a step reads is known long before the step before it is done. Loads are issued in rounds of AHEAD steps, and Triton
keeps STAGES rounds in flight, as copies into shared memory that nobody waits for. The last round, which may be a short
one, is apart, so that those in flight need no mask of time. x, u and h0 are widened to h's dtype as they are read;
a gradient is narrowed as it is written. Offsets are int64: T·B·N may pass 2^31.

Shapes: T time, B batch, N neurons, C chunks of time; x, h, dh, dx (T, B·N), u, du (N,), h0, dh0 (B·N,), starts, after
(C - 1, B·N), parts (C, B·N).
"""

import triton
import triton.language as tl

# Sizes are numbers, never compiled in: one compilation serves every length and width. EVEN: BLOCK divides the columns,
# which then need no mask.
SIZES = ["chunk", "chunks", "T", "columns", "N", "rows"]


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


@triton.jit
def columns_of_program(columns, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    """-> the columns, which of them there are, and the number of all, int64."""
    columns = columns.to(tl.int64)
    if EVEN:
        columns = tl.multiple_of(columns, BLOCK)
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = (column >= 0) if EVEN else (column < columns)  # the first is known to hold, and is left out
    return column, inside, columns


@triton.jit(do_not_specialize=SIZES)
def walk(
    x, u, h0, starts, h, chunk, T, columns, N, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr,
    AHEAD: tl.constexpr, STAGES: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Writes h of steps 0 to chunk from h0 (zeros if None), and of c·chunk + 1 to (c + 1)·chunk from starts[c - 1]."""
    wide: tl.constexpr = h.dtype.element_ty
    c = tl.program_id(1).to(tl.int64)
    column, inside, columns = columns_of_program(columns, BLOCK, EVEN)
    weight = tl.load(u + column % N, mask=inside, other=0.0).to(wide)
    state = tl.zeros([BLOCK], wide)
    if h0 is not None:
        state = tl.load(h0 + column, mask=inside & (c == 0), other=0.0).to(wide)
    if starts is not None:
        state = tl.where(c > 0, tl.load(starts + (c - 1) * columns + column, mask=inside & (c > 0), other=0.0), state)
    start = tl.where(c > 0, c * chunk + 1, 0)
    steps = (tl.minimum((c + 1) * chunk + 1, T) - start).to(tl.int32)
    read = x + start * columns + column
    write = h + start * columns + column
    rounds = tl.maximum(steps - 1, 0) // AHEAD
    for _ in tl.range(0, rounds, num_stages=STAGES):
        inputs = ()
        for k in tl.static_range(AHEAD):
            inputs = inputs + (tl.load(read + k * columns, mask=inside, other=0.0),)
        for k in tl.static_range(AHEAD):
            state = activate(inputs[k].to(wide) + weight * state, ACTIVATION, SLOPE)
            tl.store(write + k * columns, state, mask=inside)
        read += AHEAD * columns
        write += AHEAD * columns
    steps -= rounds * AHEAD
    inputs = ()
    for k in tl.static_range(AHEAD):
        inputs = inputs + (tl.load(read + k * columns, mask=inside & (k < steps), other=0.0),)
    for k in tl.static_range(AHEAD):
        state = activate(inputs[k].to(wide) + weight * state, ACTIVATION, SLOPE)
        tl.store(write + k * columns, state, mask=inside & (k < steps))


@triton.jit(do_not_specialize=SIZES)
def walk_back(
    dh, h, u, h0, after, dx, parts, dh0, chunk, T, columns, N, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr,
    AHEAD: tl.constexpr, STAGES: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Writes dx = dz of chunk c from after[c], the dz after it (zeros after the last), and its part of Σ dz_t h_{t-1}.

    The terms of a round are summed in h's dtype and the rounds in float64. The first chunk writes dh0, too.
    """
    wide: tl.constexpr = h.dtype.element_ty
    c = tl.program_id(1).to(tl.int64)
    column, inside, columns = columns_of_program(columns, BLOCK, EVEN)
    weight = tl.load(u + column % N, mask=inside, other=0.0).to(wide)
    first = tl.zeros([BLOCK], wide)
    if h0 is not None:
        first = tl.load(h0 + column, mask=inside, other=0.0).to(wide)
    dz = tl.zeros([BLOCK], wide)
    if after is not None:
        dz = tl.load(after + c * columns + column, mask=inside & (c + 1 < tl.num_programs(1)), other=0.0)
    start = c * chunk
    steps = tl.minimum(chunk, T - start).to(tl.int32)
    last = column + (start + steps - 1) * columns
    grad = dh + last
    before = h + last - columns
    write = dx + last
    state = tl.load(h + last, mask=inside & (steps > 0), other=0.0)
    total = tl.zeros([BLOCK], tl.float64)
    rounds = tl.maximum(steps - 1, 0) // AHEAD  # the first step of a chunk is in none, so h_{t-1} is in h
    for _ in tl.range(0, rounds, num_stages=STAGES):
        grads, befores = (), ()
        for k in tl.static_range(AHEAD):
            grads = grads + (tl.load(grad - k * columns, mask=inside, other=0.0),)
            befores = befores + (tl.load(before - k * columns, mask=inside, other=0.0),)
        part = tl.zeros([BLOCK], wide)
        for k in tl.static_range(AHEAD):
            dz = pull_back(grads[k] + weight * dz, state, ACTIVATION, SLOPE)
            tl.store(write - k * columns, dz, mask=inside)
            part += dz * befores[k]
            state = befores[k]
        total += part.to(tl.float64)
        grad -= AHEAD * columns
        before -= AHEAD * columns
        write -= AHEAD * columns
    steps -= rounds * AHEAD
    grads, befores = (), ()
    for k in tl.static_range(AHEAD):
        grads = grads + (tl.load(grad - k * columns, mask=inside & (k < steps), other=0.0),)
        befores = befores + (tl.load(before - k * columns, mask=inside & (start + steps - k > 1), other=0.0),)
    part = tl.zeros([BLOCK], wide)
    for k in tl.static_range(AHEAD):
        there = k < steps
        dz = tl.where(there, pull_back(grads[k] + weight * dz, state, ACTIVATION, SLOPE), dz)
        tl.store(write - k * columns, dz, mask=inside & there)
        state = tl.where(start + steps - k > 1, befores[k], first)
        part += tl.where(there, dz * state, 0.0)
    tl.store(parts + c * columns + column, total + part.to(tl.float64), mask=inside)
    tl.store(dh0 + column, weight * dz, mask=inside & (c == 0))


@triton.jit(do_not_specialize=SIZES)
def sum_parts(parts, du, rows, N, ROWS: tl.constexpr, WIDTH: tl.constexpr, STAGES: tl.constexpr):
    """Writes du, the sum of parts (rows, N) over its rows: ROWS sums in the order of rows, then these as a tree."""
    neuron = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)[None, :]
    row = tl.arange(0, ROWS)[:, None]
    total = tl.zeros([ROWS, WIDTH], tl.float64)
    for done in tl.range(0, rows, ROWS, num_stages=STAGES):
        there = (done + row < rows) & (neuron < N)
        total += tl.load(parts + (done + row).to(tl.int64) * N + neuron, mask=there, other=0.0)
    # By way of float32, or bfloat16 would be rounded from another number than elsewhere.
    du_n = tl.sum(total, 0, keep_dims=True).to(tl.float64 if du.dtype.element_ty == tl.float64 else tl.float32)
    tl.store(du + neuron, du_n, mask=neuron < N)
