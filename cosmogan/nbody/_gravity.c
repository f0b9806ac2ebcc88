/* Painting and reading of forces for the simulator: what cosmogan/nbody/gravity_cpu.py does for every particle.
 *
 * The mesh has n³ cells, its rows of n numbers `row` numbers apart; node i lies at x = i L/n. It is cut into pencils,
 * columns along its last axis. The particles of a pencil are painted to, and read from, a copy of it that stays in the L2 cache
 * and has the mesh's far side beside its faces: no particle waits for memory, and each is treated alike. Every sum is
 * made in one order, and setup.py forbids to contract a product and a sum into one instruction: the numbers do not
 * depend on the processor.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && defined(__gnu_linux__)
#define CLONED __attribute__((target_clones("avx2", "default"))) /* chosen when the library is loaded */
#else
#define CLONED
#endif

enum {
    SIDE = 8,    /* planes and rows of a pencil, fewer in the last one where the mesh ends */
    BLOCK = 256, /* particles located at once */
    BEFORE = 2,  /* nodes that a slope is read from before a particle's cell, */
    BEYOND = 3,  /* and after it */
};

typedef float Four __attribute__((vector_size(16)));
typedef uint64_t TwoPairs __attribute__((vector_size(16)));

typedef struct {
    float *cells;
    int64_t n, row;
    double per_length;
} Field;

/* The pencils that have their first plane in common. */
typedef struct {
    const uint32_t *order; /* the particles, by pencil */
    const int64_t *ends;   /* where in it each pencil's first is, and the last one's end */
    int64_t plane;
    float *copy; /* room for (SIDE + 5)² rows of n + 5 */
} Pencils;

typedef struct {
    float kept, pull, growth, box_size; /* v = kept v - pull slope, then x += growth v */
} Push;

/* Some particles: their numbers, positions, cells, and how far behind the cells' nodes they lie, in cells. */
typedef struct {
    const uint32_t *order;
    int64_t count;
    float x[3 * BLOCK], far[3 * BLOCK];
    int32_t cell[3 * BLOCK];
} Block;

/* A copy of a pencil: its first node, how many rows it has on each axis, and the numbers from plane to plane. */
typedef struct {
    float *nodes;
    int64_t first[2], rows[2], row, plane;
} Copy;

static inline int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t wrapped(int64_t node, int64_t n)
{
    return node >= 0 && node < n ? node : (node % n + n) % n;
}

/* Return a copy of a pencil, its nodes not set, that has some more of them before and beyond the pencil. */
static Copy copy_of(const Pencils *pencils, int64_t pencil, const Field *field, int64_t before, int64_t beyond)
{
    const int64_t n = field->n, more = before + beyond;
    Copy copy = {.nodes = pencils->copy, .first = {pencils->plane - before, pencil * SIDE - before}};
    copy.rows[0] = smaller(SIDE, n - pencils->plane) + more;
    copy.rows[1] = smaller(SIDE, n - pencil * SIDE) + more;
    copy.row = n + more;
    copy.plane = copy.rows[1] * copy.row;
    return copy;
}

static inline float *row_of(const Field *field, const Copy *copy, int64_t i, int64_t j)
{
    const int64_t a = wrapped(copy->first[0] + i, field->n), b = wrapped(copy->first[1] + j, field->n);
    return field->cells + (a * field->n + b) * field->row;
}

/* Find the cells of a block's particles. */
static inline void locate(const Field *field, Block *at)
{
    int32_t outside = 0;
    for (int64_t p = 0; p < 3 * at->count; p++) {
        const double u = at->x[p] * field->per_length;
        const int32_t cell = (int32_t)u; /* the floor, from 0 on */
        at->cell[p] = cell;
        at->far[p] = (float)(u - (double)cell);
        outside |= cell | (int32_t)((uint32_t)field->n - 1u - (uint32_t)cell) | -(at->x[p] < 0.0f);
    }
    for (int64_t p = 0; p < 3 * at->count && outside < 0; p++) {
        const double u = at->x[p] * field->per_length, low = floor(u);
        at->cell[p] = (int32_t)wrapped((int64_t)low, field->n);
        at->far[p] = (float)(u - low);
    }
}

/* Return the cell of a coordinate, as `locate` does. */
static inline int32_t cell_of(float x, const Field *field)
{
    const double u = x * field->per_length;
    const int32_t cell = (int32_t)u;
    return x >= 0.0f && (uint32_t)cell < field->n ? cell : (int32_t)wrapped((int64_t)floor(u), field->n);
}

/* Return a particle's pencil; they are numbered with the second axis fastest. */
static inline int32_t pencil_of(const float *position, const Field *field)
{
    const int32_t n_side = ((int32_t)field->n + SIDE - 1) / SIDE;
    const uint32_t a = (uint32_t)cell_of(position[0], field), b = (uint32_t)cell_of(position[1], field);
    return (int32_t)(a / SIDE) * n_side + (int32_t)(b / SIDE);
}

/* Count the particles (n, 3) of each pencil. */
CLONED void cosmogan_count(const float *positions, int64_t n, const Field *field, int64_t *counts)
{
    for (int64_t p = 0; p < n; p++)
        counts[pencil_of(positions + 3 * p, field)]++;
}

/* Put the numbers of particles (n, 3), from `first` on, each to its pencil's next place, which is moved along. */
CLONED void cosmogan_number(const float *positions, int64_t n, const Field *field, uint32_t first, int64_t *places,
                            uint32_t *order)
{
    for (int64_t p = 0; p < n; p++)
        order[places[pencil_of(positions + 3 * p, field)]++] = first + (uint32_t)p;
}

/* Find the cells of the particles at a place of the order, at most a block of them. */
static inline void take(const float *positions, const uint32_t *order, int64_t rest, const Field *field, Block *at)
{
    at->order = order;
    at->count = smaller(rest, BLOCK);
    for (int64_t p = 0; p < at->count; p++)
        memcpy(at->x + 3 * p, positions + 3 * (int64_t)order[p], 3 * sizeof *positions);
    locate(field, at);
}

/* Ask for what is read of a particle in the next block, which the processor would only then find missing. */
static inline void fetch(const float *values, const Block *at, int64_t p, int64_t rest)
{
    if (at->count + p < rest)
        __builtin_prefetch(values + 3 * (int64_t)at->order[at->count + p]);
}

static inline void paint_one(const float *far, float *nodes, const Copy *copy)
{
    const float dc = far[2], ec = 1.0f - dc;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            const float w = (i ? far[0] : 1.0f - far[0]) * (j ? far[1] : 1.0f - far[1]);
            float *cells = nodes + i * copy->plane + j * copy->row;
            cells[0] += w * ec;
            cells[1] += w * dc;
        }
}

/* Add a copy's nodes to the mesh's. */
static inline void add_copy(const Copy *copy, const Field *field)
{
    for (int64_t i = 0; i < copy->rows[0]; i++)
        for (int64_t j = 0; j < copy->rows[1]; j++) {
            const float *from = copy->nodes + i * copy->plane + j * copy->row;
            float *to = row_of(field, copy, i, j);
            for (int64_t c = 0; c < field->n; c++)
                to[c] += from[c];
            to[0] += from[field->n];
        }
}

/* Add the CIC clouds of the particles (n, 3) in some pencils. */
CLONED void cosmogan_paint_pencils(const float *positions, const Pencils *pencils, const Field *field)
{
    Block at;
    for (int64_t pencil = 0; pencil * SIDE < field->n; pencil++) {
        const Copy copy = copy_of(pencils, pencil, field, 0, 1);
        memset(copy.nodes, 0, copy.rows[0] * copy.plane * sizeof *copy.nodes);
        const int64_t end = pencils->ends[pencil + 1];
        for (int64_t start = pencils->ends[pencil]; start < end; start += BLOCK) {
            take(positions, pencils->order + start, end - start, field, &at);
            for (int64_t p = 0; p < at.count; p++) {
                const int32_t *cell = at.cell + 3 * p;
                fetch(positions, &at, p, end - start);
                paint_one(at.far + 3 * p,
                          copy.nodes + (cell[0] - copy.first[0]) * copy.plane + (cell[1] - copy.first[1]) * copy.row +
                              cell[2],
                          &copy);
            }
        }
        add_copy(&copy, field);
    }
}

/* Set a copy's nodes to the mesh's. */
static inline void fill_copy(const Copy *copy, const Field *field)
{
    const int64_t n = field->n;
    for (int64_t i = 0; i < copy->rows[0]; i++)
        for (int64_t j = 0; j < copy->rows[1]; j++) {
            float *to = copy->nodes + i * copy->plane + j * copy->row + BEFORE;
            const float *from = row_of(field, copy, i, j);
            memcpy(to, from, n * sizeof *to);
            for (int64_t c = -BEFORE; c < 0; c++)
                to[c] = from[wrapped(c, n)];
            for (int64_t c = n; c < n + BEYOND; c++)
                to[c] = from[wrapped(c, n)];
        }
}

/* Return two nodes of each of two rows. */
static inline Four pairs_of(const float *row, const float *other)
{
    uint64_t pairs[2];
    memcpy(pairs, row, sizeof *pairs);
    memcpy(pairs + 1, other, sizeof *pairs);
    return (Four)(TwoPairs){pairs[0], pairs[1]};
}

static inline float sum_of(Four v)
{
    return (v[0] + v[1]) + (v[2] + v[3]);
}

/* Return the slope along the axis on which nodes are `step` apart, at two nodes of each of two rows, a fraction d from
 * one to the next; near and far are the weights of the four-point difference. */
static inline Four slope_along(const float *row, const float *other, int64_t step, float d, const float *weights)
{
    Four at[6];
    for (int i = 0; i < 6; i++)
        at[i] = pairs_of(row + (i - BEFORE) * step, other + (i - BEFORE) * step);
    const Four here = (at[3] - at[1]) * weights[0] + (at[4] - at[0]) * weights[1];
    const Four next = (at[4] - at[2]) * weights[0] + (at[5] - at[1]) * weights[1];
    return here * (1.0f - d) + next * d;
}

/* Set the slope of φ at a particle in the cell of a node: the four-point difference along each axis, interpolated. */
static inline void slope_of(const float *node, const float *far, const Copy *copy, const float *weights, float *slope)
{
    const float da = far[0], db = far[1], dc = far[2], ea = 1.0f - da, eb = 1.0f - db, ec = 1.0f - dc;
    const Four of_rows = (Four){eb, eb, db, db}, of_planes = (Four){ea, ea, da, da}, along = (Four){ec, dc, ec, dc};
    slope[0] = sum_of(slope_along(node, node + copy->row, copy->plane, da, weights) * (of_rows * along));
    slope[1] = sum_of(slope_along(node, node + copy->plane, copy->row, db, weights) * (of_planes * along));
    const float shares[4] = {ea * eb, ea * db, da * eb, da * db};
    Four low = {0}, high = {0}; /* the nodes from the first on, and from the third */
    for (int i = 0; i < 4; i++) {
        const float *row = node + i / 2 * copy->plane + i % 2 * copy->row;
        Four values[2];
        memcpy(values, row - BEFORE, sizeof *values);
        memcpy(values + 1, row, sizeof *values);
        low += values[0] * shares[i];
        high += values[1] * shares[i];
    }
    slope[2] = ((low[3] - low[1]) * weights[0] + (high[2] - low[0]) * weights[1]) * ec +
               ((high[2] - high[0]) * weights[0] + (high[3] - low[1]) * weights[1]) * dc;
}

/* Return a coordinate less than a box length outside as one in the box, its far face included. */
static inline float inside(float x, float box_size)
{
    return x < 0.0f ? x + box_size : x >= box_size ? x - box_size : x;
}

/* Move n coordinates. */
CLONED void cosmogan_drift(float *positions, const float *velocities, int64_t n, float growth, float box_size)
{
    for (int64_t i = 0; i < n; i++)
        positions[i] = inside(positions[i] + growth * velocities[i], box_size);
}

/* Kick a block of particles and move them. */
static inline void push_block(const Push *push, const float *slopes, Block *at, float *positions, float *velocities)
{
    float v[3 * BLOCK];
    for (int64_t p = 0; p < at->count; p++)
        memcpy(v + 3 * p, velocities + 3 * (int64_t)at->order[p], 3 * sizeof *v);
    for (int64_t p = 0; p < 3 * at->count; p++) {
        v[p] = push->kept * v[p] - push->pull * slopes[p];
        at->x[p] = inside(at->x[p] + push->growth * v[p], push->box_size);
    }
    for (int64_t p = 0; p < at->count; p++) {
        memcpy(velocities + 3 * (int64_t)at->order[p], v + 3 * p, 3 * sizeof *v);
        memcpy(positions + 3 * (int64_t)at->order[p], at->x + 3 * p, 3 * sizeof *v);
    }
}

/* Kick and move the particles (n, 3) in some pencils; the field is the potential. */
CLONED void cosmogan_push_pencils(float *positions, float *velocities, const Pencils *pencils, const Field *field,
                                  const Push *push)
{
    const float weights[2] = {(float)(2.0 / 3.0 * field->per_length), (float)(-1.0 / 12.0 * field->per_length)};
    float slopes[3 * BLOCK];
    Block at;
    for (int64_t pencil = 0; pencil * SIDE < field->n; pencil++) {
        const Copy copy = copy_of(pencils, pencil, field, BEFORE, BEYOND);
        const int64_t end = pencils->ends[pencil + 1];
        if (pencils->ends[pencil] < end)
            fill_copy(&copy, field);
        for (int64_t start = pencils->ends[pencil]; start < end; start += BLOCK) {
            take(positions, pencils->order + start, end - start, field, &at);
            for (int64_t p = 0; p < at.count; p++) {
                const int32_t *cell = at.cell + 3 * p;
                fetch(positions, &at, p, end - start);
                fetch(velocities, &at, p, end - start);
                slope_of(copy.nodes + (cell[0] - copy.first[0]) * copy.plane + (cell[1] - copy.first[1]) * copy.row +
                             cell[2] + BEFORE,
                         at.far + 3 * p, &copy, weights, slopes + 3 * p);
            }
            push_block(push, slopes, &at, positions, velocities);
        }
    }
}

/* Multiply modes by factor / k² and the inverse windows; the mean is set to 0. Of n planes each has `rows` rows, from the
 * `first` of the second axis on, of `row` modes; planes are `plane` modes apart. k² and the windows: for each of n. */
typedef struct {
    float *modes; /* real and imaginary parts in turn */
    int64_t n, first, rows, row, plane;
    const float *k_squared, *inverse;
    float factor;
} Modes;

CLONED void cosmogan_solve(const Modes *modes, float *values)
{
    for (int64_t i = 0; i < modes->n; i++)
        for (int64_t j = 0; j < modes->rows; j++) {
            const int64_t other = modes->first + j;
            const float k_squared = modes->k_squared[i] + modes->k_squared[other];
            const float scale = modes->factor * modes->inverse[i] * modes->inverse[other];
            for (int64_t c = 0; c < modes->row; c++)
                values[c] = scale * modes->inverse[c] / (k_squared + modes->k_squared[c]);
            if (i == 0 && other == 0)
                values[0] = 0.0f;
            float *row = modes->modes + 2 * (i * modes->plane + j * modes->row);
            for (int64_t c = 0; c < modes->row; c++) {
                row[2 * c] *= values[c];
                row[2 * c + 1] *= values[c];
            }
        }
}
