// What the CPU kernels are told, and the functions that every instruction-set build offers.
#pragma once

#include <stdint.h>

namespace grouppose {

enum class Type : int { f32, f64, bf16, f16 };

// Shapes as in the operator's docstring: value (B, S, H, D), points (B, Q, H, L, P, 2),
// weights (B, Q, H, L, P), reference (B, Q, L, 2); everything contiguous. `points` and `weights`
// are locations and weights, or pixel offsets and logits where `reference` is given.
struct Problem {
  int64_t batch, positions, heads, channels, queries, levels, points_per_level;
  const int64_t* shapes;  // L pairs (h, w)
  Type value_type;        // of value, output and their gradients
  Type point_type;        // of points and weights: value_type or the accumulator's
  const void* value;
  const void* points;
  const void* weights;
  const void* reference;  // of the accumulator's type; null for the plain form
  void* out;              // (B, Q, H * D)

  int64_t samples() const { return levels * points_per_level; }  // of one head of one query
};

// Besides grad_out and grad_value everything has the accumulator's type: float, double for f64.
struct Gradients {
  const void* grad_out;  // (B, Q, H * D)
  void* grad_value;      // (B, S, H, D)
  void* grad_points;     // (B, Q, H, L, P, 2)
  void* grad_weights;    // (B, Q, H, L, P)
  void* softmax;         // (B, Q, H, L, P), of the fused form
};

struct FusedGradients {
  void* reference;         // (B, Q, L, 2) of the accumulator's type, or null
  void *offsets, *logits;  // of point_type; used where that is not the accumulator's type
};

struct Kernels {
  // Queries [begin, end) of B * Q.
  void (*forward)(const Problem&, int64_t begin, int64_t end);
  // The same for slices [begin, end) of B * H * parts, with the queries in `parts` parts. Copies
  // each head of the value first, which pays where a row is read several times.
  void (*forward_heads)(const Problem&, int64_t parts, int64_t begin, int64_t end);
  // Slices [begin, end) of B * H * groups, with the levels in `groups` parts.
  void (*backward)(const Problem&, const Gradients&, int64_t groups, int64_t begin, int64_t end);
  // Queries [begin, end) of B * Q: the weights of the fused form into `softmax`.
  void (*softmax)(const Problem&, const Gradients&, int64_t begin, int64_t end);
  // Queries [begin, end) of B * Q: turns grad_weights into the gradient of the logits, sums the
  // gradient of the reference, and rounds where point_type is narrower.
  void (*finish)(const Problem&, const Gradients&, const FusedGradients&, int64_t begin,
                 int64_t end);
};

namespace plain {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif

}  // namespace grouppose
