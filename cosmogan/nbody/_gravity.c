/* Painting and reading of forces for the simulator: what cosmogan/nbody/gravity_cpu.py does for every particle.
 *
 * The mesh has n³ cells, its rows of n numbers `row` numbers apart; node i lies at x = i L/n. Every sum is made in one
 * order, for particles at the mesh's faces too, and setup.py forbids to contract a product and a sum into one
 * instruction: the numbers do not depend on the processor.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && defined(__gnu_linux__)
#define CLONED __attribute__((target_clones("avx2", "default"))) /* chosen when the library is loaded */
#else
#define CLONED
#endif

typedef float Four __attribute__((vector_size(16)));

typedef struct {
    float *cells;
    int64_t n, row;
    double per_length;
} Field;

typedef struct {
    float kept, pull, growth, box_size; /* v = kept v - pull slope, then x += growth v */
} Push;

typedef struct {
    int64_t cell[3];
    float far[3]; /* how far behind the cell's node a particle lies, in cells */
} Place;

static inline Place place_of(const float *x, const Field *field)
{
    Place at;
    for (int i = 0; i < 3; i++) {
        const double u = x[i] * field->per_length, low = floor(u);
        int64_t cell = (int64_t)low;
        if (cell < 0 || cell >= field->n)
            cell = (cell % field->n + field->n) % field->n;
        at.cell[i] = cell;
        at.far[i] = (float)(u - low);
    }
    return at;
}

/* Add the CIC clouds of some of the particles, (n, 3), in the order given. */
CLONED void cosmogan_paint_some(const float *positions, const uint32_t *order, int64_t count, const Field *field)
{
    const int64_t n = field->n;
    for (int64_t p = 0; p < count; p++) {
        const Place at = place_of(positions + 3 * (int64_t)order[p], field);
        const int64_t c = at.cell[2], c1 = c + 1 < n ? c + 1 : 0;
        const float dc = at.far[2], ec = 1.0f - dc;
        for (int i = 0; i < 2; i++) {
            const int64_t a = at.cell[0] + i < n ? at.cell[0] + i : 0;
            const float wa = i ? at.far[0] : 1.0f - at.far[0];
            for (int j = 0; j < 2; j++) {
                const int64_t b = at.cell[1] + j < n ? at.cell[1] + j : 0;
                const float w = wa * (j ? at.far[1] : 1.0f - at.far[1]);
                float *cells = field->cells + (a * n + b) * field->row;
                cells[c] += w * ec;
                cells[c1] += w * dc;
            }
        }
    }
}

/* The six nodes of an axis that a slope is read from, the first two before the cell, and their weights in the four-point
 * difference interpolated by CIC. */
typedef struct {
    int64_t node[6];
    float weight[6];
} Stencil;

static inline Stencil stencil_of(int64_t cell, float d, const Field *field)
{
    const float near = (float)(2.0 / 3.0 * field->per_length), far = (float)(-1.0 / 12.0 * field->per_length);
    const float e = 1.0f - d;
    Stencil s = {.weight = {-far * e, -near * e - far * d, -near * d, near * e, far * e + near * d, far * d}};
    for (int i = 0; i < 6; i++) {
        const int64_t node = cell + i - 2;
        s.node[i] = node >= 0 && node < field->n ? node : (node % field->n + field->n) % field->n;
    }
    return s;
}

/* Return φ at four nodes of a row from the c-th of the stencil on; those beyond its six are not used. */
static inline Four four_of(const float *row, const Stencil *z, int c, int inside)
{
    Four values;
    if (inside)
        memcpy(&values, row + z->node[0] + c, sizeof values);
    else
        for (int i = 0; i < 4; i++)
            values[i] = row[z->node[c + i < 6 ? c + i : 5]];
    return values;
}

static inline float sum_of(Four v)
{
    return (v[0] + v[1]) + (v[2] + v[3]);
}

static inline void slope_of(const float *position, const Field *field, float *slope)
{
    const Place at = place_of(position, field);
    const Stencil x = stencil_of(at.cell[0], at.far[0], field), y = stencil_of(at.cell[1], at.far[1], field);
    const Stencil z = stencil_of(at.cell[2], at.far[2], field);
    const int inside = at.cell[2] >= 2 && at.cell[2] + 5 < field->n;
    const float wa[2] = {1.0f - at.far[0], at.far[0]}, wb[2] = {1.0f - at.far[1], at.far[1]};
    const Four wc = {1.0f - at.far[2], at.far[2], 0.0f, 0.0f};
    Four along_x = {0}, along_y = {0}, along_z[2] = {{0}, {0}};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 2; j++) {
            const float *row = field->cells + (x.node[i] * field->n + y.node[2 + j]) * field->row;
            along_x += four_of(row, &z, 2, inside) * (x.weight[i] * wb[j]);
        }
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 6; j++) {
            const float *row = field->cells + (x.node[2 + i] * field->n + y.node[j]) * field->row;
            along_y += four_of(row, &z, 2, inside) * (wa[i] * y.weight[j]);
            if (j == 2 || j == 3) {
                const float weight = wa[i] * wb[j - 2];
                along_z[0] += four_of(row, &z, 0, inside) * weight;
                along_z[1] += four_of(row, &z, 2, inside) * weight;
            }
        }
    const Four first = {z.weight[0], z.weight[1], 0.0f, 0.0f};
    const Four last = {z.weight[2], z.weight[3], z.weight[4], z.weight[5]};
    slope[0] = sum_of(along_x * wc);
    slope[1] = sum_of(along_y * wc);
    slope[2] = sum_of(along_z[0] * first + along_z[1] * last);
}

CLONED void cosmogan_slope(const float *positions, int64_t count, const Field *field, float *slope)
{
    for (int64_t p = 0; p < count; p++)
        slope_of(positions + 3 * p, field, slope + 3 * p);
}

/* Kick particles and move them; one that is less than a box length outside then is put inside. */
CLONED void cosmogan_push(float *positions, float *velocities, int64_t count, const Field *field, const Push *push)
{
    for (int64_t p = 0; p < count; p++) {
        float slope[3];
        slope_of(positions + 3 * p, field, slope);
        for (int i = 0; i < 3; i++) {
            float *v = velocities + 3 * p + i, *at = positions + 3 * p + i;
            *v = push->kept * *v - push->pull * slope[i];
            const float x = *at + push->growth * *v;
            *at = x < 0.0f ? x + push->box_size : x >= push->box_size ? x - push->box_size : x;
        }
    }
}
