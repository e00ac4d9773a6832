// The kernels at one level of instructions: compiled once for each, with LINSIGHT_LEVEL its name.
// Every function takes a range of units of work and memory of its own, calls the C library alone, and cannot fail.

#include "decode.h"
#include "delta_rule.h"
#include "diagonal_recurrence.h"
#include "diagonal_space.h"
#include "favor.h"
#include "gated_silu.h"
#include "linear_attention_backward.h"
#include "selective_scan.h"
#include "short_convolution.h"

#define JOIN_(name, level) linsight_##name##_##level
#define JOIN(name, level) JOIN_(name, level)
#define EXPORTED(name) extern "C" __attribute__((visibility("default"))) void JOIN(name, LINSIGHT_LEVEL)

using namespace linsight;
using namespace linsight::LINSIGHT_LEVEL;

// Units: sixteen channels of a row.
EXPORTED(scan_forward)(const Scan *s, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  // What is of one row, together.
  for (int64_t unit = begin, next; unit < end; unit = next) {
    const int64_t row = unit / blocks(*s), first = row * blocks(*s);
    next = end < first + blocks(*s) ? end : first + blocks(*s);
    forward(*s, row, unit - first, next - first, scratch);
  }
}

// Units: a group of channels of a row.
EXPORTED(scan_backward)(const Scan *s, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  for (int64_t unit = begin; unit < end; ++unit) backward(*s, unit / s->groups, unit % s->groups, scratch);
}

// As many heads of one row as take turns.
template <class Body>
static void together(const Attention &x, int64_t begin, int64_t end, Body body) {
  for (int64_t unit = begin, next; unit < end; unit = next) {
    const int64_t row = (unit / x.heads + 1) * x.heads;
    next = unit + x.together;
    next = next < row ? next : row;
    next = next < end ? next : end;
    body(unit, next);
  }
}

// Units: a head of a row.
EXPORTED(attention_forward)(const Attention *x, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  together(*x, begin, end, [&](int64_t first, int64_t last) { forward(*x, first, last, scratch); });
}

EXPORTED(attention_backward)(const Attention *x, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  together(*x, begin, end, [&](int64_t first, int64_t last) { backward(*x, first, last, scratch); });
}

EXPORTED(favor_forward)(const Favor *f, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  for (int64_t unit = begin; unit < end; ++unit) Features(*f, unit, scratch).forward();
}

EXPORTED(favor_backward)(const Favor *f, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  for (int64_t unit = begin; unit < end; ++unit) Features(*f, unit, scratch).backward();
}

// Units: a row.
EXPORTED(decode)(decoding::Step *s, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  decode::steps(*s, begin, end, scratch);
}

// Units: a head of a row.
EXPORTED(delta_forward)(const Delta *d, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  for (int64_t unit = begin; unit < end; ++unit) correct(*d, unit, scratch, false);
}

EXPORTED(delta_backward)(const Delta *d, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  for (int64_t unit = begin; unit < end; ++unit) correct(*d, unit, scratch, true);
}

// Units: an interval of a row.
EXPORTED(convolution_forward)(const Convolution *c, int64_t begin, int64_t end, float *scratch) {
  for (int64_t unit = begin; unit < end; ++unit) convolve(*c, unit, scratch, false);
}

EXPORTED(convolution_backward)(const Convolution *c, int64_t begin, int64_t end, float *scratch) {
  for (int64_t unit = begin; unit < end; ++unit) convolve(*c, unit, scratch, true);
}

// Units: sixteen channels of a row.
EXPORTED(diagonal_forward)(const Diagonal *d, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  for (int64_t unit = begin; unit < end; ++unit) Space(*d, unit, scratch).forward();
}

EXPORTED(diagonal_backward)(const Diagonal *d, int64_t begin, int64_t end, float *scratch) {
  Flushed flushed;
  for (int64_t unit = begin; unit < end; ++unit) Space(*d, unit, scratch).backward();
}

// Units: some states of a row.
EXPORTED(recurrence_forward)(const Recurrence *r, int64_t begin, int64_t end, float *) {
  Flushed flushed;
  for (int64_t unit = begin; unit < end; ++unit) States(*r, unit).forward();
}

EXPORTED(recurrence_backward)(const Recurrence *r, int64_t begin, int64_t end, float *) {
  Flushed flushed;
  for (int64_t unit = begin; unit < end; ++unit) States(*r, unit).backward();
}

// Units: some rows.
EXPORTED(gated_silu_forward)(const GatedSilu *s, int64_t begin, int64_t end, float *) {
  for (int64_t unit = begin; unit < end; ++unit) gate(*s, unit, false);
}

EXPORTED(gated_silu_backward)(const GatedSilu *s, int64_t begin, int64_t end, float *) {
  for (int64_t unit = begin; unit < end; ++unit) gate(*s, unit, true);
}
