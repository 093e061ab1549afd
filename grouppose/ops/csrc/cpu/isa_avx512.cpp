// The kernels for x86-64 processors with AVX-512 (F, BW, DQ, VL).
#include "headers.h"

#if defined(__x86_64__)
#define VECTOR_BYTES 64

#if defined(__clang__)
#pragma clang attribute push(                                                             \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi,bmi2,f16c"))), \
    apply_to = function)
#else
#pragma GCC target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi,bmi2,f16c,prefer-vector-width=512")
#endif

namespace grouppose {
namespace avx512 {
#include "kernels.h"
}
}  // namespace grouppose

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
