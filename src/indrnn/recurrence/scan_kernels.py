"""The kernels of `scan_triton.py`: lines (knee, left, right) of chunks of time, and the walk over the chunks.

What they compute is defined in `scan.py`; loads are issued AHEAD steps together, as in `walk_kernels.py`.

Shapes: T time, B batch, N neurons, C chunks of time; x, h, dh (T, B·N), u, slope (N,), lines (3 or 2, C, B·N), states,
after (C, B·N).
"""

import triton
import triton.language as tl

from indrnn.recurrence.walk_kernels import SIZES, activate, pull_back


@triton.jit(do_not_specialize=SIZES)
def chunk_lines(
    x, u, lines, begin, chunk, chunks, columns, N,
    ACTIVATION: tl.constexpr, LARGEST: tl.constexpr, AHEAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes knee, left, right of the steps begin + c·chunk to begin + (c + 1)·chunk, a multiple of AHEAD."""
    c = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = column < columns
    weight = tl.load(u + column % N, mask=inside, other=0.0)
    slope = tl.full([BLOCK], 1.0, tl.float64)  # as in scan_triton.slope
    knee = tl.full([BLOCK], 0.0, weight.dtype)
    left = tl.full([BLOCK], 0.0, weight.dtype)
    right = tl.full([BLOCK], LARGEST, weight.dtype)
    read = column + (begin + c * chunk) * columns
    for _j in range(0, chunk, AHEAD):
        inputs = ()
        for _k in tl.static_range(AHEAD):
            inputs = inputs + (tl.load(x + read, mask=inside, other=0.0),)
            read += columns
        for k in tl.static_range(AHEAD):
            left = inputs[k] + weight * left
            if ACTIVATION == "relu":
                slope *= weight.to(tl.float64)
                rising = slope.to(weight.dtype) > 0
                moved = knee - left / tl.where(rising, slope.to(weight.dtype), 1.0)
                moved = tl.where(moved > LARGEST, LARGEST, moved)
                knee = tl.where((left < 0) & rising, moved, knee)
                left = activate(left, ACTIVATION, 0.0)
                right = activate(inputs[k] + weight * right, ACTIVATION, 0.0)
    write = lines + c * columns + column
    tl.store(write, knee, mask=inside)
    write += chunks.to(tl.int64) * columns
    tl.store(write, left, mask=inside)
    write += chunks.to(tl.int64) * columns
    tl.store(write, right, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def over_chunks(
    lines, slope, u, states, chunks, columns, N,
    ACTIVATION: tl.constexpr, AHEAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes states[1] to states[chunks] from states[0] and the lines of the chunks between them; slope = u^chunk."""
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = column < columns
    weight = tl.load(u + column % N, mask=inside, other=0.0)
    rise = tl.load(slope + column % N, mask=inside, other=0.0)
    state = tl.load(states + column, mask=inside, other=0.0)
    size = chunks.to(tl.int64) * columns
    read = lines + column
    write = states + column
    for j in range(0, chunks, AHEAD):
        knees, lefts, rights = (), (), ()
        for k in tl.static_range(AHEAD):
            there = inside & (j + k < chunks)
            knees = knees + (tl.load(read, mask=there, other=0.0),)
            lefts = lefts + (tl.load(read + size, mask=there, other=0.0),)
            rights = rights + (tl.load(read + 2 * size, mask=there, other=0.0),)
            read += columns
        for k in tl.static_range(AHEAD):
            if ACTIVATION == "relu":
                left, right = lefts[k], rights[k]
                line = left + tl.where(state <= knees[k], 0.0, rise * (state - knees[k]))
                low, high = tl.where(left < right, left, right), tl.where(left < right, right, left)
                # This way round a NaN of the line stays; one of the ends is in the line, too.
                cut = tl.where(line < low, low, tl.where(line > high, high, line))
                state = tl.where(weight < 0, cut, line)
            else:
                state = lefts[k] + rise * state
            write += columns
            tl.store(write, state, mask=inside & (j + k < chunks))


@triton.jit(do_not_specialize=SIZES)
def chunk_lines_back(
    dh, h, u, lines, chunk, chunks, T, columns, N,
    ACTIVATION: tl.constexpr, AHEAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes left of chunk c backward in time, and whether all of its steps are alive (1 or 0)."""
    c = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = column < columns
    weight = tl.load(u + column % N, mask=inside, other=0.0)
    alive = tl.full([BLOCK], 1.0, weight.dtype)
    left = tl.full([BLOCK], 0.0, weight.dtype)
    steps = tl.minimum(chunk, T - c * chunk)
    read = column + (c * chunk + steps - 1) * columns
    for j in range(0, steps, AHEAD):
        grads, states = (), ()
        for k in tl.static_range(AHEAD):
            there = inside & (j + k < steps)
            grads = grads + (tl.load(dh + read, mask=there, other=0.0),)
            states = states + (tl.load(h + read, mask=there, other=0.0),)
            read -= columns
        for k in tl.static_range(AHEAD):
            there = j + k < steps
            left = tl.where(there, pull_back(grads[k] + weight * left, states[k], ACTIVATION, 0.0), left)
            if ACTIVATION == "relu":
                alive = tl.where(there & (states[k] <= 0), 0.0, alive)
    write = lines + c * columns + column
    tl.store(write, left, mask=inside)
    write += chunks.to(tl.int64) * columns
    tl.store(write, alive, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def over_chunks_back(lines, slope, after, chunks, columns, N, AHEAD: tl.constexpr, BLOCK: tl.constexpr):
    """Writes after[c - 1], the dz of the first step of chunk c, from after[c], down to after[0]; the last is given."""
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = column < columns
    size = chunks.to(tl.int64) * columns
    last = column + (chunks - 1).to(tl.int64) * columns
    rise = tl.load(slope + column % N, mask=inside, other=0.0)
    dz = tl.load(after + last, mask=inside, other=0.0)
    read = lines + last
    write = after + last
    for j in range(0, chunks - 1, AHEAD):
        lefts, alives = (), ()
        for k in tl.static_range(AHEAD):
            there = inside & (j + k < chunks - 1)
            lefts = lefts + (tl.load(read, mask=there, other=0.0),)
            alives = alives + (tl.load(read + size, mask=there, other=0.0),)
            read -= columns
        for k in tl.static_range(AHEAD):
            dz = lefts[k] + tl.where(alives[k] > 0, rise * dz, 0.0)
            write -= columns
            tl.store(write, dz, mask=inside & (j + k < chunks - 1))
