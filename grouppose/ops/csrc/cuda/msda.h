// What the CUDA kernels are told. Every pointer is on the device, contiguous, 16-byte aligned.
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

namespace grouppose {

enum class Type : int { f32, f64, bf16, f16 };

constexpr int kMaxLevels = 32;
constexpr int kMaxSamples = 1024;  // L * P; a group's plan must fit in shared memory

// Passed by value: a kernel reads it from constant memory, the host waits for nothing.
struct Problem {
  int batch, positions, heads, channels, queries, levels, points_per_level;
  int height[kMaxLevels], width[kMaxLevels], first[kMaxLevels];  // first position of each level
  Type value_type, point_type;
  const void* value;      // (B, S, H, D)
  const void* points;     // (B, Q, H, L, P, 2) locations, or offsets where there is a reference
  const void* weights;    // (B, Q, H, L, P) weights, or logits
  const void* reference;  // (B, Q, L, 2) of the accumulator's type, or null
  void* out;              // (B, Q, H * D)
};

// `sums` collects the gradient of the value: floats (doubles for f64), or, where there are bounds,
// 64-bit integers, whose sum does not depend on the order.
struct Gradients {
  const void* grad_out;  // (B, Q, H * D) of value_type
  void* sums;            // (B, S, H, D), zeros at first
  const float* bounds;   // largest |grad_out| and, in the plain form, |weight|; or null
  void* grad_points;     // of point_type
  void* grad_weights;    // of point_type
};

void launch_forward(const Problem& p, cudaStream_t stream);
void launch_backward(const Problem& p, const Gradients& g, cudaStream_t stream);
// (B, Q, L, 2): sums over heads and points of grad_points, times the size of the level.
void launch_sum_reference(const Problem& p, const void* grad_points, void* grad_reference,
                          cudaStream_t stream);
// bounds[slot] = largest |x|; starts from 0.
void launch_bound(const void* x, Type type, int64_t count, float* bounds, int slot,
                  cudaStream_t stream);
// Integer sums back to value_type.
void launch_from_integers(const Problem& p, const Gradients& g, void* grad_value,
                          cudaStream_t stream);

}  // namespace grouppose
