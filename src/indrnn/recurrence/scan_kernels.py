"""The kernels of `scan_triton.py`: lines (knee, left, right) of chunks of time, and the walk over the chunks.

What they compute is defined in `scan.py`; loads are issued in rounds, several in flight, as in `walk_kernels.py`.

Shapes: T time, B batch, N neurons, C chunks of time; x, h, dh (T, B·N), u (N,), h0 (B·N,), lines (3 or 2, C - 1, B·N),
starts, after (C - 1, B·N).
"""

import triton
import triton.language as tl

from indrnn.recurrence.walk_kernels import SIZES, activate, columns_of_program, pull_back


@triton.jit
def power(weight, exponent):
    """weight^exponent, in float64: rounded `exponent` times, the slope would err to the same side in every chunk."""
    square = weight.to(tl.float64)
    product = tl.full(weight.shape, 1.0, tl.float64)
    while exponent > 0:
        product = tl.where(exponent % 2 == 1, product * square, product)
        square *= square
        exponent = exponent // 2
    return product.to(weight.dtype)


@triton.jit(do_not_specialize=SIZES)
def chunk_lines(
    x, u, lines, chunk, chunks, columns, N, ACTIVATION: tl.constexpr, LARGEST: tl.constexpr,
    AHEAD: tl.constexpr, STAGES: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Writes knee, left, right of steps c·chunk + 1 to (c + 1)·chunk, a multiple of AHEAD."""
    wide: tl.constexpr = lines.dtype.element_ty
    c = tl.program_id(1).to(tl.int64)
    column, inside, columns = columns_of_program(columns, BLOCK, EVEN)
    weight = tl.load(u + column % N, mask=inside, other=0.0).to(wide)
    slope = tl.full([BLOCK], 1.0, tl.float64)  # as in power
    knee = tl.full([BLOCK], 0.0, wide)
    left = tl.full([BLOCK], 0.0, wide)
    right = tl.full([BLOCK], LARGEST, wide)
    read = x + column + (1 + c * chunk) * columns
    for _ in tl.range(0, chunk // AHEAD, num_stages=STAGES):
        inputs = ()
        for k in tl.static_range(AHEAD):
            inputs = inputs + (tl.load(read + k * columns, mask=inside, other=0.0),)
        read += AHEAD * columns
        for k in tl.static_range(AHEAD):
            x_k = inputs[k].to(wide)
            left = x_k + weight * left
            if ACTIVATION == "relu":
                slope *= weight.to(tl.float64)
                rising = slope.to(wide) > 0
                moved = knee - left / tl.where(rising, slope.to(wide), 1.0)
                moved = tl.where(moved > LARGEST, LARGEST, moved)
                knee = tl.where((left < 0) & rising, moved, knee)
                left = activate(left, ACTIVATION, 0.0)
                right = activate(x_k + weight * right, ACTIVATION, 0.0)
    write = lines + c * columns + column
    tl.store(write, knee, mask=inside)
    write += chunks * columns
    tl.store(write, left, mask=inside)
    write += chunks * columns
    tl.store(write, right, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def over_chunks(
    x, u, h0, lines, starts, chunk, chunks, columns, N, ACTIVATION: tl.constexpr,
    STAGES: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Writes the states after the lines of all ``chunks``. Before them comes the first step, as h0 may be negative."""
    wide: tl.constexpr = starts.dtype.element_ty
    column, inside, columns = columns_of_program(columns, BLOCK, EVEN)
    weight = tl.load(u + column % N, mask=inside, other=0.0).to(wide)
    state = tl.zeros([BLOCK], wide)
    if h0 is not None:
        state = tl.load(h0 + column, mask=inside, other=0.0).to(wide)
    state = activate(tl.load(x + column, mask=inside, other=0.0).to(wide) + weight * state, ACTIVATION, 0.0)
    slope = power(weight, chunk)
    size = chunks * columns
    read = lines + column
    write = starts + column
    for _ in tl.range(0, chunks, num_stages=STAGES):
        knee = tl.load(read, mask=inside, other=0.0)
        left = tl.load(read + size, mask=inside, other=0.0)
        right = tl.load(read + 2 * size, mask=inside, other=0.0)
        if ACTIVATION == "relu":
            line = left + tl.where(state <= knee, 0.0, slope * (state - knee))
            low, high = tl.where(left < right, left, right), tl.where(left < right, right, left)
            # This way round a NaN of the line stays; one of the ends is in the line, too.
            cut = tl.where(line < low, low, tl.where(line > high, high, line))
            state = tl.where(weight < 0, cut, line)
        else:
            state = left + slope * state
        tl.store(write, state, mask=inside)
        read += columns
        write += columns


@triton.jit(do_not_specialize=SIZES)
def chunk_lines_back(
    dh, h, u, lines, chunk, chunks, T, columns, N, ACTIVATION: tl.constexpr,
    AHEAD: tl.constexpr, STAGES: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Writes left of chunk c + 1 backward in time, and whether all of its steps are alive (1 or 0)."""
    wide: tl.constexpr = h.dtype.element_ty
    c = tl.program_id(1).to(tl.int64)
    column, inside, columns = columns_of_program(columns, BLOCK, EVEN)
    weight = tl.load(u + column % N, mask=inside, other=0.0).to(wide)
    alive = tl.full([BLOCK], 1.0, wide)
    left = tl.full([BLOCK], 0.0, wide)
    start = (c + 1) * chunk
    steps = tl.minimum(chunk, T - start).to(tl.int32)
    last = column + (start + steps - 1) * columns
    grad = dh + last
    state = h + last
    for j in tl.range(0, steps, AHEAD, num_stages=STAGES):
        grads, states = (), ()
        for k in tl.static_range(AHEAD):
            there = inside & (j + k < steps)
            grads = grads + (tl.load(grad - k * columns, mask=there, other=0.0),)
            states = states + (tl.load(state - k * columns, mask=there, other=0.0),)
        grad -= AHEAD * columns
        state -= AHEAD * columns
        for k in tl.static_range(AHEAD):
            there = j + k < steps
            left = tl.where(there, pull_back(grads[k] + weight * left, states[k], ACTIVATION, 0.0), left)
            if ACTIVATION == "relu":
                alive = tl.where(there & (states[k] <= 0), 0.0, alive)
    write = lines + c * columns + column
    tl.store(write, left, mask=inside)
    write += chunks * columns
    tl.store(write, alive, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def over_chunks_back(
    u, lines, after, chunk, chunks, columns, N, STAGES: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr
):
    """Writes the dz of the first steps of all ``chunks`` to after, the last one first; zeros follow it."""
    wide: tl.constexpr = after.dtype.element_ty
    column, inside, columns = columns_of_program(columns, BLOCK, EVEN)
    size = chunks * columns
    slope = power(tl.load(u + column % N, mask=inside, other=0.0).to(wide), chunk)
    dz = tl.zeros([BLOCK], wide)
    read = lines + column + (size - columns)
    write = after + column + (size - columns)
    for _ in tl.range(0, chunks, num_stages=STAGES):
        left = tl.load(read, mask=inside, other=0.0)
        alive = tl.load(read + size, mask=inside, other=0.0)
        dz = left + tl.where(alive > 0, slope * dz, 0.0)
        tl.store(write, dz, mask=inside)
        read -= columns
        write -= columns
