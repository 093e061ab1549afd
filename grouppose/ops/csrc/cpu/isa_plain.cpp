// The kernels for any processor: SSE2 on x86-64, NEON on arm64.
#include "headers.h"

#define VECTOR_BYTES 16

namespace grouppose {
namespace plain {
#include "kernels.h"
}
}  // namespace grouppose
