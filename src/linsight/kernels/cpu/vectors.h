// Sixteen floats at a time, in as many registers as they take at the level that this is compiled for.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace linsight {
namespace LINSIGHT_LEVEL {

// Wider vectors than the registers would do for sums and products, but compilers compare them one by one.
#if defined(__AVX512F__)
constexpr int REGISTER = 64;
#elif defined(__AVX2__)
constexpr int REGISTER = 32;
#else
constexpr int REGISTER = 16;
#endif
constexpr int64_t LANES = 16;
constexpr int PARTS = LANES * sizeof(float) / REGISTER;
typedef float Floats __attribute__((vector_size(REGISTER)));
typedef int32_t Integers __attribute__((vector_size(REGISTER)));
// In memory that is aligned to a float alone. A memcpy of the size goes, in halves of a register, by the stack.
typedef float Loose __attribute__((vector_size(REGISTER), aligned(sizeof(float)), may_alias));

struct Vector {
  Floats part[PARTS];
};

#define EACH for (int i = 0; i < PARTS; ++i)

INLINE Vector all(float x) {
  Vector v;
  EACH v.part[i] = Floats{} + x;
  return v;
}

INLINE Vector operator+(Vector a, Vector b) {
  EACH a.part[i] += b.part[i];
  return a;
}

INLINE Vector operator-(Vector a, Vector b) {
  EACH a.part[i] -= b.part[i];
  return a;
}

INLINE Vector operator*(Vector a, Vector b) {
  EACH a.part[i] *= b.part[i];
  return a;
}

INLINE Vector operator*(Vector a, float b) {
  EACH a.part[i] *= b;
  return a;
}

INLINE void operator+=(Vector &a, Vector b) { EACH a.part[i] += b.part[i]; }

// `count` is 16, or less at the tail of a row, where the rest is `rest` and is not stored.
INLINE Vector load(const float *from, int64_t count, float rest = 0) {
  Vector v = all(rest);
  if (count < LANES) memcpy(&v, from, count * sizeof(float));
  else EACH v.part[i] = *(const Loose *)(from + i * (LANES / PARTS));
  return v;
}

INLINE void store(float *to, Vector v, int64_t count) {
  if (count < LANES) memcpy(to, &v, count * sizeof(float));
  else EACH *(Loose *)(to + i * (LANES / PARTS)) = v.part[i];
}

INLINE Vector larger(Vector a, Vector b) {
  EACH a.part[i] = a.part[i] > b.part[i] ? a.part[i] : b.part[i];
  return a;
}

// `v`, and exactly 0 where `mask` is 0.
INLINE Vector where_not_zero(Vector mask, Vector v) {
  EACH v.part[i] = (Floats)((Integers)v.part[i] & (mask.part[i] != 0.0f));
  return v;
}

// In the order of the lanes at every level.
INLINE float sum(const Vector &v) {
  float lanes[LANES], total = 0;
  memcpy(lanes, &v, sizeof v);
  for (float x : lanes) total += x;
  return total;
}

INLINE float maximum(const Vector &v) {
  float lanes[LANES];
  memcpy(lanes, &v, sizeof v);
  for (int half = LANES / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i + half] > lanes[i] ? lanes[i + half] : lanes[i];
  return lanes[0];
}

// e^x. Exactly 1 at 0; 0 at -inf and below -69 (a decay of 1e-30 leaves of a state what the next write hides, or
// denormal numbers); inf from 88.4 on; NaN at NaN; elsewhere within 2 units in the last place.
// x = n log 2 + r with |r| <= log 2 / 2; e^r by the polynomial of degree 6 with the least greatest relative error
// among those with 1 + r in front, 3e-9; 2^n by its bits, and a product, which keeps NaN.
INLINE Floats exponential(Floats x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const Floats top = Floats{} + 89.0f, capped = top < x ? top : x;
  const Floats shifted = capped * 1.44269504f + magic, n = shifted - magic;
  Floats r = capped - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Floats p = r * 1.38145395e-3f + 8.36874545e-3f;
  p = p * r + 4.16683890e-2f;
  p = p * r + 1.66665211e-1f;
  p = p * r + 4.99999940e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Integers scale = ((Integers)shifted << 23) + 0x3f800000;
  const Floats e = p * (Floats)scale;
  return (Floats)((Integers)e & ~(x < -69.0f));
}

INLINE Vector exponential(Vector x) {
  EACH x.part[i] = exponential(x.part[i]);
  return x;
}

INLINE Vector sigmoid(Vector x) {
  Vector e = exponential(x * -1.0f);
  EACH e.part[i] = 1 / (1 + e.part[i]);
  return e;
}

INLINE Vector silu(Vector x) {
  const Vector e = exponential(x * -1.0f);
  EACH x.part[i] = x.part[i] / (1 + e.part[i]);
  return x;
}

constexpr float LOG2E = 1.44269504f, LOG2 = 0.693147181f;

// 2^x: for exponents whose own rounding, the better part of the error where they are large, does not matter. Exactly 1
// at 0, inf from 128 on, NaN at NaN; 0 from where numbers are denormal at the latest.
#if defined(__AVX512F__)
// x = b + r with b a multiple of 1/16 and |r| <= 1/32, 2^(b mod 1) from a table, and 2^r by the polynomial of degree 3
// with the least greatest relative error among those with 1 in front, 2e-9.
INLINE Floats two_to(Floats x) {
  const Floats table = {0x1p0f,        0x1.0b5586p0f, 0x1.172b84p0f, 0x1.2387a6p0f, 0x1.306fep0f,  0x1.3dea64p0f,
                        0x1.4bfdaep0f, 0x1.5ab07ep0f, 0x1.6a09e6p0f, 0x1.7a1148p0f, 0x1.8ace54p0f, 0x1.9c4918p0f,
                        0x1.ae89fap0f, 0x1.c199bep0f, 0x1.d5818ep0f, 0x1.ea4afap0f};
  const float magic = 786432.0f;  // 1.5 * 2^19: adding it leaves sixteenths in the last four bits
  const Floats r = (Floats)_mm512_reduce_ps((__m512)x, 0x48), b = x - r;
  const Floats whole = (Floats)_mm512_permutexvar_ps((__m512i)(b + magic), (__m512)table);
  const Floats p = (r * 5.5502135e-2f + 2.4023429e-1f) * r + 6.9314720e-1f;
  return (Floats)_mm512_scalef_ps((__m512)(whole * r * p + whole), (__m512)b);
}
#else
// As e^x is computed, at 3 operations less, since x - n is exact. The polynomial of degree 6 is that of the least
// greatest relative error among those with 1 in front, 2e-9. 0 below -100.
INLINE Floats two_to(Floats x) {
  const float magic = 12582912.0f;
  const Floats top = Floats{} + 128.0f, capped = top < x ? top : x;
  const Floats shifted = capped + magic, r = capped - (shifted - magic);
  Floats p = r * 1.53533634e-4f + 1.33988739e-3f;
  p = p * r + 9.61843692e-3f;
  p = p * r + 5.55033237e-2f;
  p = p * r + 2.40226477e-1f;
  p = p * r + 6.93147182e-1f;
  p = p * r + 1.0f;
  const Integers scale = ((Integers)shifted << 23) + 0x3f800000;
  const Floats e = p * (Floats)scale;
  return (Floats)((Integers)e & ~(x < -100.0f));
}
#endif

INLINE Vector two_to(Vector x) {
  EACH x.part[i] = two_to(x.part[i]);
  return x;
}

INLINE int64_t padded(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

// The body for every 16 of `count` numbers, and for what is left: a copy of it knows that it is for 16.
template <class Body>
INLINE void each(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) body(i, LANES);
  if (i < count) body(i, count - i);
}

#define BODY [&](int64_t i, int64_t count) __attribute__((always_inline))

// States that decay for long become denormal numbers, which take a hundred times as long: they are 0 in here,
// and the caller finds the processor as it was.
class Flushed {
#if defined(__x86_64__)
  unsigned before = _mm_getcsr();

 public:
  Flushed() { _mm_setcsr(before | 0x8040); }
  ~Flushed() { _mm_setcsr(before); }
#else

 public:
  Flushed() {}
#endif
};

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
