// Functions of the numbers of a row: of each by itself, and of groups of them.
#pragma once

#include "exponentials.h"

namespace linsight {
namespace LINSIGHT_LEVEL {
namespace decode {

enum Map { IDENTITY, ELU1, RELU, RELU2, SOFTMAX, ELU };
enum Function { AS_IS, TANH, SIGMOID, EXP, SILU };
enum Kernel { EXPONENTIAL, HYPERBOLIC, RECTIFIED };

// max(x, 0) + log(1 + e), e = exp(-|x|): log(1 + e) = 2 artanh z with z = e / (2 + e) <= 1/3, by its series up to
// z^15, whose rest is 2e-8 of it.
INLINE Vector softplus(Vector x) {
  Vector away;
  EACH away.part[i] = x.part[i] < 0 ? x.part[i] : -x.part[i];
  const Vector e = exponential(away);
  EACH {
    const Floats z = e.part[i] / (2 + e.part[i]), w = z * z;
    Floats p = w * (1.0f / 15) + 1.0f / 13;
    p = p * w + 1.0f / 11;
    p = p * w + 1.0f / 9;
    p = p * w + 1.0f / 7;
    p = p * w + 1.0f / 5;
    p = p * w + 1.0f / 3;
    p = p * w + 1.0f;
    x.part[i] = (x.part[i] > 0 ? x.part[i] : Floats{}) + 2 * z * p;
  }
  return x;
}

// x P(x^2) below 0.625, where 1 - 2 / (1 + e^2x) would lose digits; the polynomial is that of Cephes.
INLINE Vector hyperbolic_tangent(Vector x) {
  EACH {
    const Floats v = x.part[i], z = v * v, e = exponential(v * 2);
    Floats p = z * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    x.part[i] = z < 0.390625f ? v + v * z * p : 1 - 2 / (1 + e);
  }
  return x;
}

INLINE Vector value(int64_t function, Vector x) {
  switch (function) {
    case TANH: return hyperbolic_tangent(x);
    case SIGMOID: return sigmoid(x);
    case EXP: return exponential(x);
    case SILU: return silu(x);
    default: return x;
  }
}

INLINE float squares(const float *x, int64_t size) {
  Vector total = {};
  each(size, BODY {
    const Vector part = load(x + i, count);
    total += part * part;
  });
  return sum(total);
}

INLINE void scale(float *x, int64_t size, float factor) {
  each(size, BODY { store(x + i, load(x + i, count) * factor, count); });
}

// To the variance 1, and to the mean 0 if `centred`; y may be x. The variance is found in a second pass, as a
// difference it would be rounded away.
static void normalise(const float *x, int64_t size, bool centred, float eps, float *y) {
  float mean = 0;
  Vector total = {};
  if (centred) {
    each(size, BODY { total += load(x + i, count); });
    mean = sum(total) / size;
  }
  total = {};
  each(size, BODY {
    const Vector away = load(x + i, count, mean) - all(mean);
    total += away * away;
  });
  const float factor = 1 / sqrtf(sum(total) / size + eps);
  each(size, BODY { store(y + i, (load(x + i, count) - all(mean)) * factor, count); });
}

INLINE Vector mapped(Vector x, int64_t map) {
  Vector y;
  if (map == ELU1) {
    const Vector e = exponential(x);
    EACH y.part[i] = x.part[i] > 0 ? x.part[i] + 1 : e.part[i];
    return y;
  }
  if (map == ELU) {  // e^x - 1 = 2 t / (1 - t) with t = tanh(x / 2), which near 0 is exact to its last digits
    const Vector t = hyperbolic_tangent(x * 0.5f);
    EACH y.part[i] = x.part[i] > 0 ? x.part[i] : 2 * t.part[i] / (1 - t.part[i]);
    return y;
  }
  EACH y.part[i] = x.part[i] < 0 ? Floats{} : x.part[i];
  return map == RELU2 ? y * y : y;
}

static void softmax(float *x, int64_t size) {
  float top = x[0], total = 0;
  for (int64_t i = 1; i < size; ++i) top = x[i] > top || x[i] != x[i] ? x[i] : top;
  each(size, BODY { store(x + i, exponential(load(x + i, count) + all(-top)), count); });
  for (int64_t i = 0; i < size; ++i) total += x[i];
  scale(x, size, 1 / total);
}

static void apply(int64_t map, float *x, int64_t heads, int64_t size) {
  if (map == SOFTMAX)
    for (int64_t h = 0; h < heads; ++h) softmax(x + h * size, size);
  else if (map != IDENTITY)
    each(heads * size, BODY { store(x + i, mapped(load(x + i, count), map), count); });
}

// Of the rectified features, so that all are positive.
constexpr float LIFT = 1e-3f;

// Positive features of a vector, from the products with `given` directions, relative to e^top.
static Exponentials featured(int64_t kernel, float *x, int64_t given, int64_t features) {
  if (kernel == HYPERBOLIC) each(given, BODY { store(x + given + i, load(x + i, count) * -1, count); });
  if (kernel != RECTIFIED) return exponentials(x, x, features);
  float total = 0;
  for (int64_t i = 0; i < given; ++i) total += x[i] = (x[i] < 0 ? 0 : x[i]) + LIFT;
  return {0, total};
}

// Pairs (i, i + keys / 2) of every head by the angle place * frequency, which float32 would get wrong by 1e-5.
static void turn(float *x, int64_t heads, int64_t keys, const double *frequencies, int64_t place) {
  const int64_t half = keys / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double angle = place * frequencies[i];
    const float c = (float)cos(angle), s = (float)sin(angle);
    for (int64_t h = 0; h < heads; ++h) {
      float *first = x + h * keys + i, *second = first + half;
      const float a = *first, b = *second;
      *first = a * c - b * s;
      *second = a * s + b * c;
    }
  }
}

}  // namespace decode
}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
