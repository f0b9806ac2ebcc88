/* Where clouds begin, for positions of one precision: included once with POSITION float, once with double. */

/* Find where the clouds of a block of particles begin. Sets, for each particle and axis in turn, the subvolume of the
 * cloud's first node, that node's cell therein, and how far the particle lies behind it, in [0, 1).
 * Returns the first particle of the block that cannot be in the box, or -1. */
CLONED static int64_t NAME(locate)(const POSITION *restrict x, int64_t count, Mesh mesh, Located *restrict at)
{
    const double shift = 2.0 - 0.5 * mesh.order; /* one more than the formula's: truncation is the floor below 0, too */
    const float per_side = (float)(1.0 / mesh.side);
    for (int64_t p = 0; p < 3 * count; p++) {
        const double u = x[p] * mesh.cells_per_length + shift;
        const int32_t above = (int32_t)u;
        at->first[p] = (int32_t)((uint32_t)above - 1u);
        at->fraction[p] = (float)(u - (double)above);
    }
    int32_t signs = 0;
    for (int64_t p = 0; p < 3 * count; p++) {
        const int32_t cell = at->first[p], sub = (int32_t)(((float)cell + 0.5f) * per_side);
        const int32_t outside = -(int32_t)((uint32_t)cell >= (uint32_t)mesh.n_mesh); /* all bits, or none */
        const int32_t first = (cell - sub * mesh.side) | outside;
        at->sub[p] = sub;
        at->first[p] = first;
        signs |= first;
    }
    if (signs < 0)
        for (int64_t p = 0; p < 3 * count; p++)
            if (at->first[p] < 0 && !wrap((double)x[p], mesh, p, at))
                return p / 3;
    return -1;
}

static int64_t NAME(paint)(Particles from, Mesh mesh, const int32_t *slots, Sums *sums)
{
    const POSITION *x = from.positions;
    Located at;
    for (int64_t start = 0; start < from.n; start += BLOCK) {
        const int64_t count = from.n - start < BLOCK ? from.n - start : BLOCK;
        if (sums->room - sums->n_carries < BLOCK * MAX_ORDER * MAX_ORDER * MAX_ORDER)
            return start;
        const int64_t bad = NAME(locate)(x + 3 * start, count, mesh, &at);
        if (bad >= 0)
            return -1 - (start + bad);
        add_block(count, mesh, slots, &at, from.weights ? from.weights + start : NULL, sums);
    }
    return from.n;
}

static int64_t NAME(address)(Particles from, Mesh mesh, const int32_t *owner, int32_t *destination, int64_t *counts)
{
    const POSITION *x = from.positions;
    Located at;
    for (int64_t start = 0; start < from.n; start += BLOCK) {
        const int64_t count = from.n - start < BLOCK ? from.n - start : BLOCK;
        const int64_t bad = NAME(locate)(x + 3 * start, count, mesh, &at);
        if (bad >= 0)
            return start + bad;
        address_block(count, mesh, owner, &at, destination + start, counts);
    }
    return -1;
}

static void NAME(sort)(Particles from, Mesh mesh, const int32_t *owner, const int32_t *destination, int64_t *next_row,
                       Particles to)
{
    const POSITION *x = from.positions;
    POSITION *sorted = to.positions;
    int32_t ranks[MAX_ORDER * MAX_ORDER * MAX_ORDER];
    Located at;
    for (int64_t p = 0; p < from.n;) {
        const int32_t rank = destination[p];
        int64_t run = 1;
        if (rank == SEVERAL) {
            NAME(locate)(x + 3 * p, 1, mesh, &at);
            const int n_ranks = owners_of(0, mesh, owner, &at, ranks);
            for (int i = 0; i < n_ranks; i++) {
                const int64_t row = next_row[ranks[i]]++;
                memcpy(sorted + 3 * row, x + 3 * p, 3 * sizeof *x);
                if (from.weights)
                    to.weights[row] = from.weights[p];
            }
        } else {
            while (p + run < from.n && destination[p + run] == rank)
                run++;
            if (rank != NOBODY) {
                const int64_t row = next_row[rank];
                next_row[rank] += run;
                memcpy(sorted + 3 * row, x + 3 * p, run * 3 * sizeof *x);
                if (from.weights)
                    memcpy(to.weights + row, from.weights + p, run * sizeof *to.weights);
            }
        }
        p += run;
    }
}
