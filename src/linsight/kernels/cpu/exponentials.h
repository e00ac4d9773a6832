// Sums of exponentials that need not be numbers that exist: parts of the largest, and its logarithm.
#pragma once

#include <cfloat>

#include "vectors.h"

namespace linsight {
namespace LINSIGHT_LEVEL {

// A sum below it has terms that are not normal numbers.
constexpr float LEAST = FLT_MIN / FLT_EPSILON;

struct Exponentials {
  float top, sum;
};

// exp(x - top) of a row, 0 in its padding, with top the largest x.
INLINE Exponentials exponentials(float *to, const float *from, int64_t size) {
  Vector largest = all(-INFINITY), total = {};
  each(size, BODY { largest = larger(largest, load(from + i, count, -INFINITY)); });
  const float top = maximum(largest);
  each(size, BODY {
    const Vector e = exponential(load(from + i, count, -INFINITY) + all(-top));
    store(to + i, e, LANES);
    total += e;
  });
  return {top, sum(total)};
}

// The logarithm of the largest sum so far, with one of exponentials times e^weight; NaN remains.
INLINE float risen(float before, const Exponentials &e, double weight) {
  const float own = (float)(e.top + weight + log((double)e.sum));
  return before >= own || before != before ? before : own;
}

// What is left of sums that were relative to another largest one.
INLINE float kept(float before, float peak) { return peak == before ? 1 : (float)exp((double)before - peak); }

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
