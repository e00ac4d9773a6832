// S_t = diag(exp g_t) S_(t-1) + k_t v_t^T, o_t = q_t^T S_t, and its gradients.
// A tile of the state stays in registers while some tokens pass: two products and no more an element and token,
// where blocks of similarities would take a third, and every decay is a factor that is at most 1. Each gradient
// is the same recurrence with other rows in the places of q, k, v:
//   dq_t = S_t do_t,   dS_t = q_t do_t^T + diag(exp g_(t+1)) dS_(t+1),   dk_t = dS_t v_t,   dv_t = dS_t^T k_t.
// Reading before the update is reading after it with the queries of the next token: step s of such a row pairs
// query s with key s - 1, from the query without a key to the key without a query.
#pragma once

#include "bfloat16.h"

namespace linsight {

// Numbers of a token and head lie side by side; strides of the others are in numbers, which are floats or, by half,
// bfloat16. Null: not given.
struct Rows {
  const void *data;
  int64_t row, token, head, half;
};

// What ops/linear hands over.
struct Attention {
  int64_t batch, length, heads, keys, values;
  int64_t before, normalise, by_feature;  // by_feature: the decay is one number a key's feature
  int64_t together;                       // heads that take turns in the forward
  int64_t elu1;                           // q and k are elu(.) + 1 of what is given; with no bonus
  double scale;
  Rows q, k, v, decay, dout;
  const float *bonus, *state, *dfinal;     // (heads, keys), (batch, heads, keys, values + normalise) twice
  float *o, *final_state, *denominators;   // (batch, length, heads, values), as state, (batch, length, heads)
  float *dq, *dk, *dv, *dstate, *dbonus;   // as q, k, v, state; (batch, heads, keys); these three and o by half too
  float *ddecay;                           // (batch, length, heads, keys or 1)
};

namespace LINSIGHT_LEVEL {

constexpr int64_t STEPS = 32;  // tokens that pass while a tile is in registers
constexpr int64_t ROWS = REGISTER == 64 ? 8 : 4;
constexpr int64_t FLOATS = REGISTER / sizeof(float);
constexpr float FLOOR = 1e-6f;

// A step decays, then does these; or, from the end, does these and then decays.
enum Order { ADD_READ, READ_ADD, ADD_READ_BACK, READ_ADD_BACK };
enum Decay { NONE, BY_ROW, BY_LANE, BY_STEP };

// Lines of memory that the next chunk will need: on their way, a few a step, while this one is computed. Rows of a
// head lie too far apart for the processor to foresee them, and it waits where many are asked for at once.
class Ahead {
  static constexpr int64_t MOST = 64;  // of a token; where there are more, what is computed takes longer anyway
  int64_t tiles, count = 0, done = 0;
  uintptr_t line[MOST];
  int64_t stride[MOST];

 public:
  // Some of the lines. There may be no such token: nothing is read.
  struct Share {
    const uintptr_t *line;
    const int64_t *stride;
    int64_t count;

    void step(int64_t i) const {
      for (int64_t l = 0; l < count; ++l) __builtin_prefetch((const void *)(line[l] + i * stride[l]));
    }
  };

  explicit Ahead(int64_t tiles) : tiles(tiles) {}

  // `size` numbers of a token, of `bytes` bytes each, and of the tokens after it.
  void add(const void *data, int64_t at, int64_t token, int64_t size, int64_t bytes) {
    for (int64_t i = 0; i < size && count < MOST; i += 64 / bytes, ++count) {
      line[count] = (uintptr_t)data + (at + i) * bytes;
      stride[count] = token * bytes;
    }
  }

  // What is for the next of the tiles.
  Share share() {
    const int64_t from = done * count / tiles, to = ++done * count / tiles;
    return {line + from, stride + from, to - from};
  }
};

// Of every step: what reads and what is written along the rows of a state, what is written along its lanes, what
// is read, and what decays.
struct Pass {
  const float *reads, *writes;
  int64_t rows, row_stride;
  const float *lanes;
  float *out;
  int64_t wide;  // lanes, a multiple of 16
  const float *decay;
  float *state;
  int64_t steps;
  Ahead *ahead;
};

template <int WIDTH>
INLINE void scale(Floats (&s)[ROWS][WIDTH], float factor) {
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) s[r][w] *= factor;
}

template <int WIDTH, Order order, Decay decay>
static void tile(const Pass &p, int64_t row, int64_t lane) {
  constexpr bool back = order == ADD_READ_BACK || order == READ_ADD_BACK;
  constexpr bool add_read = order == ADD_READ || order == ADD_READ_BACK;
  constexpr bool within = decay == BY_ROW || decay == BY_LANE;
  Floats s[ROWS][WIDTH];
  float *state = p.state + row * p.wide + lane;
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) s[r][w] = *(const Floats *)(state + r * p.wide + w * FLOATS);
  const Ahead::Share ahead = p.ahead ? p.ahead->share() : Ahead::Share{};
  for (int64_t i = 0; i < p.steps; ++i) {
    const int64_t t = back ? p.steps - 1 - i : i;
    ahead.step(i);
    const float *reads = p.reads + t * p.row_stride + row, *writes = p.writes + t * p.row_stride + row;
    const float *keep = p.decay;
    if (decay == BY_ROW) keep += t * p.row_stride + row;
    if (decay == BY_LANE) keep += t * p.wide + lane;
    // Apart from the sums, which a decay of 1, as most are, leaves the same to the bit, and as fast.
    const bool falls = decay == BY_STEP && keep[t] != 1;
    if (falls && !back) scale(s, keep[t]);
    float *out = p.out + t * p.wide + lane;
    Floats c[WIDTH], o[WIDTH], d[WIDTH];
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) {
      c[w] = *(const Floats *)(p.lanes + t * p.wide + lane + w * FLOATS);
      o[w] = *(const Floats *)(out + w * FLOATS);
      if (decay == BY_LANE) d[w] = *(const Floats *)(keep + w * FLOATS);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
      for (int w = 0; w < WIDTH; ++w) {
        if (decay == BY_ROW) d[w] = Floats{} + keep[r];
        if (within && !back) s[r][w] *= d[w];
        if (add_read) s[r][w] += c[w] * writes[r];
        o[w] += s[r][w] * reads[r];
        if (!add_read) s[r][w] += c[w] * writes[r];
        if (within && back) s[r][w] *= d[w];
      }
    if (falls && back) scale(s, keep[t]);
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) *(Floats *)(out + w * FLOATS) = o[w];
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) *(Floats *)(state + r * p.wide + w * FLOATS) = s[r][w];
}

template <Order order, Decay decay>
static void pass(const Pass &p) {
  memset(p.out, 0, p.steps * p.wide * sizeof(float));
  int64_t lane = 0;
  for (; lane + 2 * FLOATS <= p.wide; lane += 2 * FLOATS)
    for (int64_t row = 0; row < p.rows; row += ROWS) tile<2, order, decay>(p, row, lane);
  if (lane < p.wide)
    for (int64_t row = 0; row < p.rows; row += ROWS) tile<1, order, decay>(p, row, lane);
}

// Some of the steps of a pass whose decay is by lane.
INLINE Pass part(Pass p, int64_t first, int64_t steps) {
  p.reads += first * p.row_stride;
  p.writes += first * p.row_stride;
  p.lanes += first * p.wide;
  p.out += first * p.wide;
  p.decay += first * p.wide;
  p.steps = steps;
  return p;
}

template <Order order, Decay decay>
static void pass(const Pass &p, bool decayed) {
  if (decayed) pass<order, decay>(p);
  else pass<order, NONE>(p);
}

// One head of one row, as steps.
struct Head {
  const Attention &x;
  int64_t row, head;
  int64_t columns, wide_k, wide_v, steps;

  Head(const Attention &x, int64_t unit)
      : x(x), row(unit / x.heads), head(unit % x.heads), columns(x.values + x.normalise),
        wide_k(padded(x.keys)), wide_v(padded(columns)), steps(x.length + x.before) {}

  bool there(int64_t token) const { return token >= 0 && token < x.length; }
  int64_t at(const Rows &rows, int64_t token) const {
    return row * rows.row + token * rows.token + head * rows.head;
  }
  const float *of(const Rows &rows, int64_t token) const { return (const float *)rows.data + at(rows, token); }
  int64_t here(int64_t token) const { return (row * x.length + token) * x.heads + head; }
  // Of a pass over a state of these rows and lanes.
  static int64_t tiles(int64_t rows, int64_t wide) {
    return (rows + ROWS - 1) / ROWS * ((wide + 2 * FLOATS - 1) / (2 * FLOATS));
  }
  void foresee(Ahead &ahead, const Rows &rows, int64_t token, int64_t size) const {
    ahead.add(rows.data, at(rows, token), rows.token, size, rows.half ? 2 : 4);
  }
  void foresee_inputs(Ahead &ahead, int64_t token, bool backward) const {
    foresee(ahead, x.q, token, x.keys);
    foresee(ahead, x.k, token, x.keys);
    foresee(ahead, x.v, token, x.values);
    if (backward) foresee(ahead, x.dout, token, x.values);
  }
  void foresee(Ahead &ahead, const void *dense, bool half, int64_t token, int64_t size) const {
    ahead.add(dense, here(token) * size, x.heads * size, size, half ? 2 : 4);
  }
  int64_t chunks() const { return (steps + STEPS - 1) / STEPS; }
  int64_t of_chunk(int64_t chunk) const { return steps - chunk * STEPS < STEPS ? steps - chunk * STEPS : STEPS; }
};

INLINE Vector read(const void *from, bool half, int64_t at, int64_t count) {
  return half ? load((const uint16_t *)from + at, count) : load((const float *)from + at, count);
}

INLINE void write(void *to, bool half, int64_t at, Vector v, int64_t count) {
  half ? store((uint16_t *)to + at, v, count) : store((float *)to + at, v, count);
}

// elu(x) + 1 = e^min(x, 0) + max(x, 0), the first of which is its slope. NaN is below 0, and stays.
INLINE Vector slope(Vector x) {
  EACH x.part[i] = 0.0f < x.part[i] ? Floats{} : x.part[i];
  return exponential(x);
}

INLINE Vector elu1(Vector x) { return slope(x) + larger(x, all(0)); }

// Tokens from `first` on into rows of `wide` floats, 0 beyond `size` and where there is no token.
static void pack(float *to, const Head &h, const Rows &rows, int64_t first, int64_t steps, int64_t size,
                 int64_t wide, float scale = 1, bool mapped = false) {
  for (int64_t t = 0; t < steps; ++t, to += wide) {
    const bool there = h.there(first + t);
    if (!there || size % LANES || size < wide) memset(to, 0, wide * sizeof(float));
    if (!there) continue;
    const int64_t from = h.at(rows, first + t);
    each(size, BODY {
      const Vector x = read(rows.data, rows.half, from + i, count);
      store(to + i, (mapped ? elu1(x) : x) * scale, count);
    });
  }
}

static void pack_values(float *to, const Head &h, int64_t first, int64_t steps) {
  pack(to, h, h.x.v, first, steps, h.x.values, h.wide_v);
  if (h.x.normalise)
    for (int64_t t = 0; t < steps; ++t) to[t * h.wide_v + h.x.values] = h.there(first + t);
}

// What is left of the state after each token: 1 where there is none.
static void pack_decay(float *to, const Head &h, int64_t first, int64_t steps) {
  if (!h.x.decay.data) return;
  // A constant decay is rounded the same way at every token: what rounding leaves goes to the next one.
  double left = 0;
  for (int64_t t = 0; t < steps; ++t, to += h.wide_k) {
    const float *g = h.there(first + t) ? h.of(h.x.decay, first + t) : nullptr;
    if (g && h.x.by_feature) {
      each(h.x.keys, BODY { store(to + i, exponential(load(g + i, count)), LANES); });
      continue;
    }
    const double keep = g ? exp((double)*g) * (1 + left) : 1;
    const float rounded = (float)keep;
    left = g && rounded > 0 ? keep / rounded - 1 : left;
    each(h.wide_k, BODY { store(to + i, all(rounded), count); });
  }
}

INLINE float dot(const float *a, const float *b, int64_t wide) {
  Vector total = {};
  each(wide, BODY { total += load(a + i, count) * load(b + i, count); });
  return sum(total);
}

// Gradients at what is read before it is divided. With o = n / d: dn = do / d, and dd = -do . o / d.
static void pack_gradients(float *to, const Head &h, int64_t first, int64_t steps) {
  const Attention &x = h.x;
  pack(to, h, x.dout, first, steps, x.values, h.wide_v);
  if (!x.normalise) return;
  for (int64_t t = 0; t < steps; ++t, to += h.wide_v) {
    if (!h.there(first + t)) continue;
    const int64_t here = h.here(first + t);
    const float denominator = x.denominators[here];
    Vector total = {};
    each(x.values, BODY {
      const Vector divided = load(to + i, count) * (1 / denominator);
      total += divided * read(x.o, x.v.half, here * x.values + i, count);
      store(to + i, divided, count);
    });
    to[x.values] = denominator > FLOOR ? -sum(total) : 0;
  }
}

// (keys, columns) of memory, of rows that are `spare` longer, to a padded state, and back; or to its transpose.
static void gather(float *state, const float *from, const Head &h, bool transposed, int64_t spare = 0) {
  const int64_t wide = transposed ? h.wide_k : h.wide_v, stride = h.columns + spare;
  memset(state, 0, h.wide_k * h.wide_v * sizeof(float));
  if (!from) return;
  from += (h.row * h.x.heads + h.head) * h.x.keys * stride;
  for (int64_t i = 0; i < h.x.keys; ++i)
    for (int64_t j = 0; j < h.columns; ++j) state[transposed ? j * wide + i : i * wide + j] = from[i * stride + j];
}

static void scatter(float *to, const float *state, const Head &h, int64_t spare = 0) {
  const int64_t stride = h.columns + spare;
  to += (h.row * h.x.heads + h.head) * h.x.keys * stride;
  for (int64_t i = 0; i < h.x.keys; ++i) memcpy(to + i * stride, state + i * h.wide_v, h.columns * sizeof(float));
}

// scale * sum q bonus k, the weight of a token's own value.
INLINE float own_weight(const Head &h, int64_t token) {
  const Attention &x = h.x;
  const float *q = h.of(x.q, token), *k = h.of(x.k, token), *bonus = x.bonus + h.head * x.keys;
  Vector total = {};
  each(x.keys, BODY { total += load(q + i, count) * load(k + i, count) * load(bonus + i, count); });
  return sum(total) * (float)x.scale;
}

static void unpack_outputs(const Head &h, float *out, int64_t first, int64_t steps) {
  const Attention &x = h.x;
  for (int64_t t = 0; t < steps; ++t, out += h.wide_v) {
    const int64_t token = first + t, here = h.here(token);
    if (!h.there(token)) continue;
    const float own = x.bonus ? own_weight(h, token) : 0;
    float factor = 1;
    if (x.normalise) {
      const float denominator = out[x.values] + own;
      x.denominators[here] = denominator < FLOOR ? FLOOR : denominator;
      factor = 1 / x.denominators[here];
    }
    const float *value = x.bonus ? h.of(x.v, token) : nullptr;
    each(x.values, BODY {
      Vector o = load(out + i, count);
      if (value) o += load(value + i, count) * own;
      write(x.o, x.v.half, here * x.values + i, o * factor, count);
    });
  }
}

// Memory of a call, piece by piece.
struct Scratch {
  float *next;
  float *take(int64_t floats) {
    float *here = next;
    next += floats;
    return here;
  }
};

// Heads `begin` to `end` of a row, which take turns chunk by chunk: what they read of a token lies side by side.
static void forward(const Attention &x, int64_t begin, int64_t end, float *memory) {
  const Head one(x, begin);
  const int64_t size = one.wide_k * one.wide_v;
  Scratch scratch{memory};
  float *q = scratch.take(STEPS * one.wide_k), *k = scratch.take(STEPS * one.wide_k);
  float *decay = scratch.take(STEPS * one.wide_k);
  float *v = scratch.take(STEPS * one.wide_v), *out = scratch.take(STEPS * one.wide_v);
  float *states = scratch.take((end - begin) * size);
  for (int64_t unit = begin; unit < end; ++unit) gather(states + (unit - begin) * size, x.state, Head(x, unit), false);
  for (int64_t chunk = 0; chunk < one.chunks(); ++chunk) {
    const int64_t first = chunk * STEPS, steps = one.of_chunk(chunk);
    for (int64_t unit = begin; unit < end; ++unit) {
      const Head h(x, unit), next(x, unit + 1 < end ? unit + 1 : begin);
      const int64_t then = unit + 1 < end ? first : first + STEPS;
      pack(q, h, x.q, first, steps, x.keys, h.wide_k, (float)x.scale, x.elu1);
      pack(k, h, x.k, first - x.before, steps, x.keys, h.wide_k, 1, x.elu1);
      pack_decay(decay, h, first - x.before, steps);
      pack_values(v, h, first - x.before, steps);
      Ahead ahead(h.tiles(x.keys, h.wide_v));
      next.foresee_inputs(ahead, then, false);
      next.foresee(ahead, x.o, x.v.half, then, x.values);
      float *state = states + (unit - begin) * size;
      pass<ADD_READ, BY_ROW>({q, k, x.keys, h.wide_k, v, out, h.wide_v, decay, state, steps, &ahead}, x.decay.data);
      unpack_outputs(h, out, first, steps);
    }
  }
  for (int64_t unit = begin; unit < end; ++unit) scatter(x.final_state, states + (unit - begin) * size, Head(x, unit));
}

// Of the gradients, what all functions below share.
struct Adjoint {
  Head h;
  float *q, *k, *decay, *dk;       // STEPS rows of wide_k
  float *v, *dout, *dv;            // STEPS rows of wide_v
  float *state, *dstate;           // (wide_v, wide_k): of the forward and of the backward recurrence
  float *dstate_turned;            // (wide_k, wide_v)
  float *through, *dbonus;         // wide_k
  float *queries, *dq;             // gradients before those of a step's own pair, of all steps and of a chunk's
  float *checkpoints;              // the state in every chunk's last step, if the decay's gradient is asked for

  Adjoint(const Attention &x, int64_t unit, float *memory) : h(x, unit) {
    Scratch scratch{memory};
    float **keys[] = {&q, &k, &decay, &dk}, **values[] = {&v, &dout, &dv};
    float **states[] = {&state, &dstate, &dstate_turned}, **features[] = {&through, &dbonus};
    for (float **each : keys) *each = scratch.take(STEPS * h.wide_k);
    for (float **each : values) *each = scratch.take(STEPS * h.wide_v);
    for (float **each : states) *each = scratch.take(h.wide_k * h.wide_v);
    for (float **each : features) *each = scratch.take(h.wide_k);
    queries = scratch.take(h.steps * h.wide_k);
    checkpoints = scratch.next;
  }

  void begin(int64_t chunk) { dq = queries + chunk * STEPS * h.wide_k; }

  float *checkpoint(int64_t chunk) const { return checkpoints + chunk * h.wide_k * h.wide_v; }
};

// The forward recurrence, and the state of the last step between its decay and what it writes.
static void pass_and_keep(const Pass &p, float *kept, int64_t rows) {
  pass<READ_ADD, BY_LANE>(part(p, 0, p.steps - 1));
  Pass last = part(p, p.steps - 1, 1);
  last.ahead = nullptr;
  for (int64_t row = 0; row < rows; ++row)
    each(p.wide, BODY {
      float *state = p.state + row * p.wide + i;
      store(state, load(state, count) * load(last.decay + i, count), count);
    });
  memcpy(kept, p.state, rows * p.wide * sizeof(float));
  pass<READ_ADD, NONE>(last);
}

// S_t . dS_t of every feature at the last step of a chunk, of what earlier tokens wrote and later ones read.
static void cross(const Adjoint &a, int64_t chunk) {
  const Head &h = a.h;
  const float *state = a.checkpoint(chunk);
  each(h.wide_k, BODY {
    Vector total = {};
    for (int64_t j = 0; j < h.columns; ++j)
      total += load(state + j * h.wide_k + i, count) * load(a.dstate + j * h.wide_k + i, count);
    store(a.through + i, total, count);
  });
}

// dg_t = X_t + q_t dq_t - k_t dk_t = X_(t-1), X_t = S_t . dS_t by feature. Without the pairs of a query and a key
// of one step, which cancel: they would leave their rounding errors where decay leaves little else. A chunk
// begins anew at its last step, X_t - k_t dk_t, so that the errors of a difference do not add up.
static void decay_gradient(const Adjoint &a, int64_t t, int64_t token, bool last) {
  const Head &h = a.h;
  const Attention &x = h.x;
  const int64_t at = t * h.wide_k;
  Vector total = {};
  each(x.keys, BODY {
    Vector g = load(a.through + i, count);
    g += load(a.q + at + i, count) * load(a.dq + at + i, count);
    if (!last) g += load(a.k + at + i, count) * load(a.dk + at + i, count) * -1.0f;
    g = where_not_zero(load(a.decay + at + i, count), g);
    store(a.through + i, g, count);
    if (x.by_feature && h.there(token)) store(x.ddecay + h.here(token) * x.keys + i, g, count);
    total += g;
  });
  if (!x.by_feature && h.there(token)) x.ddecay[h.here(token)] = sum(total);
}

// The gradient of a query or key where that of its feature is `gradient`.
INLINE void unpack_feature(const Head &h, void *to, const Rows &rows, int64_t token, int64_t i, Vector gradient,
                           int64_t count) {
  if (h.x.elu1) gradient = gradient * slope(read(rows.data, rows.half, h.at(rows, token) + i, count));
  write(to, rows.half, h.here(token) * h.x.keys + i, gradient, count);
}

// A query, its gradient and those of the key and value that stand beside it at step t; then of its own token's.
static void finish(const Adjoint &a, int64_t t, int64_t query, int64_t key) {
  const Head &h = a.h;
  const Attention &x = h.x;
  const float *q = a.q + t * h.wide_k, *k = a.k + t * h.wide_k, *dout = a.dout + t * h.wide_v;
  const float weight = dot(q, k, h.wide_k), dweight = dot(a.v + t * h.wide_v, dout, h.wide_v);
  if (h.there(query)) {
    const float *from = a.dq + t * h.wide_k;
    const float scale = (float)x.scale;
    each(x.keys, BODY {
      const Vector dq = (load(from + i, count) + load(k + i, count) * dweight) * scale;
      unpack_feature(h, x.dq, x.q, query, i, dq, count);
    });
  }
  if (h.there(key)) {
    const float *from = a.dk + t * h.wide_k, *values = a.dv + t * h.wide_v;
    each(x.keys, BODY {
      unpack_feature(h, x.dk, x.k, key, i, load(from + i, count) + load(q + i, count) * dweight, count);
    });
    each(x.values, BODY {
      const Vector dv = load(values + i, count) + load(dout + i, count) * weight;
      write(x.dv, x.v.half, h.here(key) * x.values + i, dv, count);
    });
  }
  if (!x.bonus || !h.there(query)) return;
  const float own = own_weight(h, query), *bonus = x.bonus + h.head * x.keys, *value = h.of(x.v, query);
  float down = x.normalise ? dout[x.values] : 0;
  float *dq = x.dq + h.here(query) * x.keys, *dk = x.dk + h.here(query) * x.keys, *dv = x.dv + h.here(query) * x.values;
  Vector total = {};
  each(x.values, BODY {
    total += load(dout + i, count) * load(value + i, count);
    store(dv + i, load(dv + i, count) + load(dout + i, count) * own, count);
  });
  down += sum(total);
  const float *key_row = h.of(x.k, query);
  each(x.keys, BODY {
    const Vector q_part = load(q + i, count), k_part = load(key_row + i, count);
    const Vector factor = load(bonus + i, count) * down;
    store(dq + i, load(dq + i, count) + k_part * factor * (float)x.scale, count);
    store(dk + i, load(dk + i, count) + q_part * factor, count);
    store(a.dbonus + i, load(a.dbonus + i, count) + q_part * k_part * down, count);
  });
}

static void backward(const Attention &x, int64_t unit, float *memory) {
  Adjoint a(x, unit, memory);
  const Head &h = a.h;
  gather(a.state, x.state, h, true);
  for (int64_t chunk = 0; chunk < h.chunks(); ++chunk) {
    const int64_t first = chunk * STEPS, steps = h.of_chunk(chunk);
    pack(a.k, h, x.k, first - x.before, steps, x.keys, h.wide_k, 1, x.elu1);
    pack_decay(a.decay, h, first - x.before, steps);
    pack_values(a.v, h, first - x.before, steps);
    pack_gradients(a.dout, h, first, steps);
    a.begin(chunk);
    Ahead ahead(h.tiles(h.columns, h.wide_k));
    h.foresee_inputs(ahead, first + STEPS, true);
    const Pass p{a.dout, a.v, h.columns, h.wide_v, a.k, a.dq, h.wide_k, a.decay, a.state, steps, &ahead};
    if (x.ddecay) pass_and_keep(p, a.checkpoint(chunk), h.wide_v);
    else pass<READ_ADD, BY_LANE>(p, x.decay.data);
  }
  gather(a.dstate, x.dfinal, h, true);
  gather(a.dstate_turned, x.dfinal, h, false);
  memset(a.dbonus, 0, h.wide_k * sizeof(float));
  for (int64_t chunk = h.chunks() - 1; chunk >= 0; --chunk) {
    const int64_t first = chunk * STEPS, steps = h.of_chunk(chunk);
    pack(a.q, h, x.q, first, steps, x.keys, h.wide_k, (float)x.scale, x.elu1);
    a.begin(chunk);
    pack(a.k, h, x.k, first - x.before, steps, x.keys, h.wide_k, 1, x.elu1);
    pack_decay(a.decay, h, first - x.before, steps);
    pack_values(a.v, h, first - x.before, steps);
    pack_gradients(a.dout, h, first, steps);
    if (x.ddecay) cross(a, chunk);
    Ahead ahead(h.tiles(h.columns, h.wide_k) + h.tiles(x.keys, h.wide_v));
    h.foresee_inputs(ahead, first - STEPS, true);
    h.foresee(ahead, x.dq, x.q.half, first - STEPS, x.keys);
    h.foresee(ahead, x.dk, x.k.half, first - STEPS, x.keys);
    h.foresee(ahead, x.dv, x.v.half, first - STEPS, x.values);
    pass<READ_ADD_BACK, BY_LANE>(
        {a.v, a.dout, h.columns, h.wide_v, a.q, a.dk, h.wide_k, a.decay, a.dstate, steps, &ahead}, x.decay.data);
    pass<READ_ADD_BACK, BY_ROW>(
        {a.k, a.q, x.keys, h.wide_k, a.dout, a.dv, h.wide_v, a.decay, a.dstate_turned, steps, &ahead}, x.decay.data);
    for (int64_t t = steps - 1; t >= 0; --t) {
      const int64_t key = first + t - x.before;
      if (x.ddecay) decay_gradient(a, t, key, t == steps - 1);
      finish(a, t, first + t, key);
    }
  }
  if (x.dstate) scatter(x.dstate, a.dstate_turned, h);
  if (x.dbonus) memcpy(x.dbonus + unit * x.keys, a.dbonus, x.keys * sizeof(float));
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
