// The kernels for x86-64 processors with AVX2 and FMA.
#include "headers.h"

#if defined(__x86_64__)
#define VECTOR_BYTES 32

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi,bmi2,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,bmi,bmi2,f16c")
#endif

namespace grouppose {
namespace avx2 {
#include "kernels.h"
}
}  // namespace grouppose

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
