// What the library says of itself, and work for several threads.

#include <cstdint>

#define EXPORTED extern "C" __attribute__((visibility("default")))

// The digest of the sources it was built from: another one than that of the sources beside it is refused.
EXPORTED const char *linsight_sources() { return LINSIGHT_SOURCES; }

// The levels that this processor has, best first.
EXPORTED const char *linsight_levels() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
      return "avx512 avx2 portable";
    return "avx2 portable";
  }
#endif
  return "portable";
}

// A kernel, its work in `threads` parts with memory of their own, and what an OpenMP runtime calls its threads.
struct Shared {
  void (*kernel)(const void *, int64_t, int64_t, float *);
  const void *arguments;
  int64_t units, threads;
  char *memory;
  int64_t stride;
  int (*number)(), (*count)();
};

// All parts, however many threads there came to be.
static void work(void *data) {
  const Shared &s = *(const Shared *)data;
  for (int64_t part = s.number(); part < s.threads; part += s.count())
    s.kernel(s.arguments, s.units * part / s.threads, s.units * (part + 1) / s.threads,
             (float *)(s.memory + part * s.stride));
}

EXPORTED void linsight_share(Shared *shared, void (*parallel)(void (*)(void *), void *, unsigned, unsigned)) {
  parallel(work, shared, (unsigned)shared->threads, 0);
}
