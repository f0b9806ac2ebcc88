/* Mass assignment and routing: what cosmogan/nbody/paint.py and decompose.py do for every particle.
 *
 * Node i lies at x = i L/n. A particle at u = x n/L gives weight to `order` nodes on each axis, the first of them
 * floor(u - order/2 + 1): NGP 1, CIC 2, TSC 3 (Hockney & Eastwood 1988, section 5-3), PCS 4 (Chaniotis & Poulikakos 2004).
 *
 * Particles are taken in blocks that stay in the L1 cache. What every particle needs is computed for a whole block in
 * loops that the compiler turns into vector instructions; only then are the cells added to.
 *
 * Cells are sums of whole numbers, of a unit that is small beside a particle's weight: however many particles lie in a
 * cell nothing is lost, and the sum does not depend on their order. A cell has 32 bits. What goes beyond is a carry,
 * which is written down, rarely: into a list that Python adds up. The weights do not depend on the processor: setup.py
 * forbids to contract a product and a sum into one instruction.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && defined(__gnu_linux__)
#define CLONED __attribute__((target_clones("avx2", "default"))) /* chosen when the library is loaded */
#else
#define CLONED
#endif

enum { BLOCK = 512, AHEAD = 12, MAX_ORDER = 4, NOBODY = -1, SEVERAL = -2 };

typedef struct {
    double cells_per_length; /* in the inverse of the positions' unit */
    int32_t n_mesh, side;    /* cells a side of the mesh, and of a subvolume */
    int32_t n_side;          /* subvolumes a side */
    int32_t order;           /* of the window */
} Mesh;

typedef struct {
    void *positions; /* (n, 3) float or double */
    float *weights;  /* (n,), or NULL: 1 each */
    int64_t n;
    int32_t is_double;
} Particles;

typedef struct {
    int64_t cell, amount; /* amount in units of 2^32 of the sums' unit */
} Carry;

typedef struct {
    uint32_t *cells;
    Carry *carries;
    int64_t n_carries, room; /* those there, and for how many there is room */
    double scale;            /* units in a weight of 1 */
} Sums;

typedef float Four __attribute__((vector_size(16)));
typedef int32_t FourInts __attribute__((vector_size(16)));
typedef uint32_t FourCells __attribute__((vector_size(16)));
typedef uint64_t TwoPairs __attribute__((vector_size(16)));

typedef struct {
    int32_t sub[3 * BLOCK], first[3 * BLOCK];
    float fraction[3 * BLOCK];
    int64_t place[BLOCK];
} Located;

/* Do what `locate` does for a coordinate whose cloud begins outside; 0 when it is too far or not a number. */
static int wrap(double x, Mesh mesh, int64_t p, Located *at)
{
    double u = x * mesh.cells_per_length;
    if (!(u >= -mesh.n_mesh && u <= 2.0 * mesh.n_mesh))
        return 0;
    u += 1.0 - 0.5 * mesh.order;
    const double low = floor(u);
    const int32_t cell = ((int32_t)low % mesh.n_mesh + mesh.n_mesh) % mesh.n_mesh;
    at->sub[p] = cell / mesh.side;
    at->first[p] = cell % mesh.side;
    at->fraction[p] = (float)(u - low);
    return 1;
}

static inline int64_t number_of(Mesh mesh, int32_t a, int32_t b, int32_t c)
{
    return ((int64_t)a * mesh.n_side + b) * mesh.n_side + c;
}

/* Say whether a block lies in one subvolume, clouds and all, as neighbours in a snapshot often do. */
CLONED static int in_one_subvolume(int64_t count, Mesh mesh, const Located *at)
{
    const int32_t last = mesh.side - mesh.order;
    int32_t differ = 0, beyond = 0;
    for (int64_t p = 0; p < 3 * count - 3; p++)
        differ |= at->sub[p] ^ at->sub[p + 3];
    for (int64_t p = 0; p < 3 * count; p++)
        beyond |= last - at->first[p];
    return differ == 0 && beyond >= 0;
}

/* Set the weights of the `order` nodes from the first on, d behind it: B-splines of that order. */
static inline void axis_weights(int order, float d, float *out)
{
    const float e = 1.0f - d;
    if (order == 1) {
        out[0] = 1.0f;
    } else if (order == 2) {
        out[0] = e, out[1] = d;
    } else if (order == 3) {
        const float middle = d - 0.5f;
        out[0] = 0.5f * e * e, out[1] = 0.75f - middle * middle, out[2] = 0.5f * d * d;
    } else {
        const float sixth = (float)(1.0 / 6.0);
        out[0] = sixth * e * e * e, out[3] = sixth * d * d * d;
        out[1] = sixth * (4.0f - 6.0f * d * d + 3.0f * d * d * d);
        out[2] = sixth * (4.0f - 6.0f * e * e + 3.0f * e * e * e);
    }
}

/* Return the next subvolume on an axis. */
static inline int32_t after(int32_t sub, Mesh mesh)
{
    return sub + 1 < mesh.n_side ? sub + 1 : 0;
}

/* Step to the next cell on an axis, and to the next subvolume where one ends. */
static inline void step(int32_t *sub, int32_t *cell, Mesh mesh)
{
    if (++*cell == mesh.side) {
        *cell = 0;
        *sub = after(*sub, mesh);
    }
}

static inline void carry(Sums *sums, int64_t cell, int64_t amount)
{
    sums->carries[sums->n_carries++] = (Carry){cell, amount};
}

/* Add a number of units, rounded to a whole one, to a cell. */
static inline void add_units(Sums *sums, int64_t cell, float units)
{
    const uint64_t whole = units < 2147483648.0f ? (uint64_t)(int32_t)(units + 0.5f) : (uint64_t)units;
    const uint32_t low = (uint32_t)whole;
    sums->cells[cell] += low;
    const int64_t amount = (int64_t)(whole >> 32) + (sums->cells[cell] < low);
    if (amount)
        carry(sums, cell, amount);
}

/* Add one cloud cell by cell, each to the subvolume that it lies in. */
static void add_split(int64_t p, float weight, Mesh mesh, const int32_t *slots, const Located *at, Sums *sums)
{
    float spline[3][MAX_ORDER];
    for (int axis = 0; axis < 3; axis++)
        axis_weights(mesh.order, at->fraction[3 * p + axis], spline[axis]);
    int32_t sa = at->sub[3 * p], a = at->first[3 * p];
    for (int i = 0; i < mesh.order; i++, step(&sa, &a, mesh)) {
        int32_t sb = at->sub[3 * p + 1], b = at->first[3 * p + 1];
        for (int j = 0; j < mesh.order; j++, step(&sb, &b, mesh)) {
            int32_t sc = at->sub[3 * p + 2], c = at->first[3 * p + 2];
            for (int k = 0; k < mesh.order; k++, step(&sc, &c, mesh)) {
                const int64_t slot = slots[number_of(mesh, sa, sb, sc)];
                if (slot >= 0)
                    add_units(sums, ((slot * mesh.side + a) * mesh.side + b) * mesh.side + c,
                              spline[0][i] * weight * (spline[1][j] * spline[2][k]));
            }
        }
    }
}

/* Add a CIC cloud's four cells of one plane; return which of the sums went beyond their 32 bits. */
static inline FourCells add_plane(Four shares, float weight, int64_t side, uint32_t *cells)
{
    const FourCells units = (FourCells)__builtin_convertvector(shares * weight + 0.5f, FourInts);
    uint64_t rows[2];
    memcpy(rows, cells, sizeof *rows);
    memcpy(rows + 1, cells + side, sizeof *rows);
    const FourCells sum = (FourCells)(TwoPairs){rows[0], rows[1]} + units;
    const TwoPairs pairs = (TwoPairs)sum;
    rows[0] = pairs[0], rows[1] = pairs[1];
    memcpy(cells, rows, sizeof *rows);
    memcpy(cells + side, rows + 1, sizeof *rows);
    return (FourCells)(sum < units);
}

/* Add one CIC cloud that lies in one subvolume and weighs less than 2^31 units. */
static inline void add_cic(float weight, const float *fraction, int64_t side, int64_t place, Sums *sums)
{
    const float db = fraction[1], dc = fraction[2], eb = 1.0f - db, ec = 1.0f - dc;
    const Four shares = (Four){eb, eb, db, db} * (Four){ec, dc, ec, dc};
    FourCells beyond[2];
    for (int i = 0; i < 2; i++) {
        const float of_plane = (i ? fraction[0] : 1.0f - fraction[0]) * weight;
        beyond[i] = add_plane(shares, of_plane, side, sums->cells + place + i * side * side);
    }
    const TwoPairs any = (TwoPairs)(beyond[0] | beyond[1]);
    if (any[0] | any[1])
        for (int i = 0; i < 8; i++)
            if (beyond[i / 4][i % 4])
                carry(sums, place + ((i / 4) * side + (i / 2) % 2) * side + i % 2, 1);
}

/* Add one cloud of any order that lies in one subvolume. */
static inline void add_any(float weight, const float *fraction, int order, int64_t side, int64_t place, Sums *sums)
{
    float spline[3][MAX_ORDER];
    for (int axis = 0; axis < 3; axis++)
        axis_weights(order, fraction[axis], spline[axis]);
    for (int a = 0; a < order; a++)
        for (int b = 0; b < order; b++)
            for (int c = 0; c < order; c++)
                add_units(sums, place + (a * side + b) * side + c,
                          spline[0][a] * weight * (spline[1][b] * spline[2][c]));
}

/* Set where in the output each cloud of a block begins: NOBODY's when unwanted, SEVERAL when it is split.
 * Returns whether any of them is wanted. */
CLONED static int place_block(int64_t count, Mesh mesh, const int32_t *slots, Located *restrict at)
{
    const int64_t side = mesh.side;
    const int32_t *first = at->first;
    if (in_one_subvolume(count, mesh, at)) {
        const int64_t slot = slots[number_of(mesh, at->sub[0], at->sub[1], at->sub[2])];
        if (slot < 0)
            return 0;
        for (int64_t p = 0; p < count; p++)
            at->place[p] = ((slot * side + first[3 * p]) * side + first[3 * p + 1]) * side + first[3 * p + 2];
        return 1;
    }
    const int32_t last = mesh.side - mesh.order;
    for (int64_t p = 0; p < count; p++) {
        const int32_t *sub = at->sub + 3 * p, a = first[3 * p], b = first[3 * p + 1], c = first[3 * p + 2];
        const int64_t slot = slots[number_of(mesh, sub[0], sub[1], sub[2])];
        const int64_t begin = slot >= 0 ? ((slot * side + a) * side + b) * side + c : NOBODY;
        at->place[p] = (a <= last) & (b <= last) & (c <= last) ? begin : SEVERAL;
    }
    return 1;
}

/* Ask for the cells of a CIC cloud, which the processor would only find missing from its caches one after the other. */
static inline void fetch(const uint32_t *cells, int64_t side)
{
    __builtin_prefetch(cells, 1), __builtin_prefetch(cells + side, 1);
    __builtin_prefetch(cells + side * side, 1), __builtin_prefetch(cells + side * side + side, 1);
}

CLONED static void add_block(int64_t count, Mesh mesh, const int32_t *slots, Located *at, const float *weights,
                             Sums *sums)
{
    if (!place_block(count, mesh, slots, at))
        return;
    for (int64_t p = 0; p < count; p++) {
        if (p + AHEAD < count && at->place[p + AHEAD] >= 0)
            fetch(sums->cells + at->place[p + AHEAD], mesh.side);
        const float weight = (float)(weights ? weights[p] * sums->scale : sums->scale);
        if (at->place[p] == SEVERAL)
            add_split(p, weight, mesh, slots, at, sums);
        else if (at->place[p] >= 0 && mesh.order == 2 && weight < 2147483648.0f)
            add_cic(weight, at->fraction + 3 * p, mesh.side, at->place[p], sums);
        else if (at->place[p] >= 0)
            add_any(weight, at->fraction + 3 * p, mesh.order, mesh.side, at->place[p], sums);
    }
}

/* Return how many subvolumes a cloud that begins at cell `first` of one reaches into, on one axis. */
static inline int span(int32_t first, Mesh mesh)
{
    int n = 1;
    for (int32_t beyond = first + mesh.order - mesh.side; beyond > 0; beyond -= mesh.side)
        n++;
    return n;
}

/* Set the ranks, each once, that own a part of a cloud; return how many they are. */
static int owners_of(int64_t p, Mesh mesh, const int32_t *owner, const Located *at, int32_t *ranks)
{
    const int32_t *sub = at->sub + 3 * p, *first = at->first + 3 * p;
    const int spans[3] = {span(first[0], mesh), span(first[1], mesh), span(first[2], mesh)};
    int n = 0;
    int32_t sa = sub[0];
    for (int a = 0; a < spans[0]; a++, sa = after(sa, mesh)) {
        int32_t sb = sub[1];
        for (int b = 0; b < spans[1]; b++, sb = after(sb, mesh)) {
            int32_t sc = sub[2];
            for (int c = 0; c < spans[2]; c++, sc = after(sc, mesh)) {
                const int32_t rank = owner[number_of(mesh, sa, sb, sc)];
                int is_new = rank != NOBODY;
                for (int i = 0; i < n; i++)
                    is_new &= ranks[i] != rank;
                if (is_new)
                    ranks[n++] = rank;
            }
        }
    }
    return n;
}

/* Set where each particle of a block goes, and count. */
static void address_block(int64_t count, Mesh mesh, const int32_t *owner, const Located *at, int32_t *destination,
                          int64_t *counts)
{
    int32_t ranks[MAX_ORDER * MAX_ORDER * MAX_ORDER];
    if (in_one_subvolume(count, mesh, at)) {
        const int32_t rank = owner[number_of(mesh, at->sub[0], at->sub[1], at->sub[2])];
        for (int64_t p = 0; p < count; p++)
            destination[p] = rank;
        if (rank != NOBODY)
            counts[rank] += count;
        return;
    }
    const int32_t last = mesh.side - mesh.order;
    for (int64_t p = 0; p < count; p++) {
        const int32_t *sub = at->sub + 3 * p, *first = at->first + 3 * p;
        const int whole = (first[0] <= last) & (first[1] <= last) & (first[2] <= last);
        destination[p] = whole ? owner[number_of(mesh, sub[0], sub[1], sub[2])] : SEVERAL;
    }
    for (int64_t p = 0; p < count;) {
        const int32_t rank = destination[p];
        int64_t run = 1;
        if (rank == SEVERAL) {
            const int n = owners_of(p, mesh, owner, at, ranks);
            destination[p] = n > 1 ? SEVERAL : n == 1 ? ranks[0] : NOBODY;
            for (int i = 0; i < n; i++)
                counts[ranks[i]]++;
        } else {
            while (p + run < count && destination[p + run] == rank)
                run++;
            if (rank != NOBODY)
                counts[rank] += run;
        }
        p += run;
    }
}

#define POSITION float
#define NAME(kernel) kernel##_float
#include "_located.h"
#undef POSITION
#undef NAME
#define POSITION double
#define NAME(kernel) kernel##_double
#include "_located.h"

/* Turn sums of less than 2^32 units into numbers of `unit` each, in place; return their total in units. */
CLONED uint64_t cosmogan_density(uint32_t *cells, int64_t n, double unit)
{
    uint64_t total = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t count = n - start < BLOCK ? n - start : BLOCK;
        uint32_t sums[BLOCK];
        float density[BLOCK];
        memcpy(sums, cells + start, count * sizeof *sums);
        for (int64_t i = 0; i < count; i++) {
            total += sums[i];
            /* 2^31 less, for there is no instruction that turns an unsigned number into a double */
            density[i] = (float)(((double)(int32_t)(sums[i] ^ 0x80000000u) + 2147483648.0) * unit);
        }
        memcpy(cells + start, density, count * sizeof *density);
    }
    return total;
}

/* The others that Python calls. */

/* Paint as many particles as there is room for carries, and return how many, or the first that cannot be in the box as
 * -1 less its number. */
int64_t cosmogan_paint(const Particles *from, const Mesh *mesh, const int32_t *slots, Sums *sums)
{
    return (from->is_double ? paint_double : paint_float)(*from, *mesh, slots, sums);
}

/* Return the first particle that cannot be in the box, or -1. */
int64_t cosmogan_address(const Particles *from, const Mesh *mesh, const int32_t *owner, int32_t *destination,
                         int64_t *counts)
{
    return (from->is_double ? address_double : address_float)(*from, *mesh, owner, destination, counts);
}

void cosmogan_sort(const Particles *from, const Mesh *mesh, const int32_t *owner, const int32_t *destination,
                   int64_t *next_row, const Particles *to)
{
    (from->is_double ? sort_double : sort_float)(*from, *mesh, owner, destination, next_row, *to);
}
