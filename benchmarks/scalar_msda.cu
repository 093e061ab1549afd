// Deformable attention in its classical form, the baseline of benchmarks/msda.py: a thread a
// channel, every thread finds the sample's place itself, gradients are added by scalar atomics.
// value (B, S, H, D), locations (B, Q, H, L, P, 2), weights (B, Q, H, L, P), float32.
#include <cuda_runtime.h>

struct Sizes {
  int batch, positions, heads, channels, queries, levels, points;
  int height[8], width[8];
};

struct Corner {
  int position;  // negative: outside the level
  float weight, by_x, by_y;
};

__device__ void find_corners(const Sizes& s, int level, int first, float x, float y,
                             Corner (&corners)[4]) {
  const int height = s.height[level], width = s.width[level];
  const float column = x * width - 0.5f, row = y * height - 0.5f;
  const int left = int(floorf(column)), top = int(floorf(row));
  const float right_share = column - left, bottom_share = row - top;
  for (int k = 0; k < 4; ++k) {
    const int i = top + k / 2, j = left + k % 2;
    const float by_column = k % 2 ? right_share : 1 - right_share;
    const float by_row = k / 2 ? bottom_share : 1 - bottom_share;
    const bool inside = i >= 0 && i < height && j >= 0 && j < width;
    corners[k] = {inside ? first + i * width + j : -1, by_column * by_row,
                  (k % 2 ? by_row : -by_row) * width, (k / 2 ? by_column : -by_column) * height};
  }
}

__global__ void forward(Sizes s, const float* value, const float* locations, const float* weights,
                        float* out) {
  const long long index = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (index >= (long long)s.batch * s.queries * s.heads * s.channels) return;
  const int channel = index % s.channels, head = index / s.channels % s.heads;
  const long long query = index / s.channels / s.heads;
  const float* picture = value + query / s.queries * s.positions * s.heads * s.channels;
  long long sample = (query * s.heads + head) * s.levels * s.points;
  float total = 0;
  for (int level = 0, first = 0; level < s.levels; ++level) {
    for (int point = 0; point < s.points; ++point, ++sample) {
      Corner corners[4];
      find_corners(s, level, first, locations[2 * sample], locations[2 * sample + 1], corners);
      for (const Corner& c : corners) {
        if (c.position >= 0) {
          total += weights[sample] * c.weight *
                   picture[((long long)c.position * s.heads + head) * s.channels + channel];
        }
      }
    }
    first += s.height[level] * s.width[level];
  }
  out[index] = total;
}

__global__ void backward(Sizes s, const float* grad, const float* value, const float* locations,
                         const float* weights, float* grad_value, float* grad_locations,
                         float* grad_weights) {
  const long long index = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (index >= (long long)s.batch * s.queries * s.heads * s.channels) return;
  const int channel = index % s.channels, head = index / s.channels % s.heads;
  const long long query = index / s.channels / s.heads;
  const long long picture = query / s.queries * s.positions * s.heads * s.channels;
  long long sample = (query * s.heads + head) * s.levels * s.points;
  for (int level = 0, first = 0; level < s.levels; ++level) {
    for (int point = 0; point < s.points; ++point, ++sample) {
      Corner corners[4];
      find_corners(s, level, first, locations[2 * sample], locations[2 * sample + 1], corners);
      float by_weight = 0, by_x = 0, by_y = 0;
      for (const Corner& c : corners) {
        if (c.position < 0) continue;
        const long long at =
            picture + ((long long)c.position * s.heads + head) * s.channels + channel;
        atomicAdd(grad_value + at, weights[sample] * c.weight * grad[index]);
        by_weight += c.weight * value[at];
        by_x += c.by_x * value[at];
        by_y += c.by_y * value[at];
      }
      atomicAdd(grad_weights + sample, by_weight * grad[index]);
      atomicAdd(grad_locations + 2 * sample, weights[sample] * by_x * grad[index]);
      atomicAdd(grad_locations + 2 * sample + 1, weights[sample] * by_y * grad[index]);
    }
    first += s.height[level] * s.width[level];
  }
}

static const int kThreads = 256;

static int blocks(const Sizes& s) {
  const long long threads = (long long)s.batch * s.queries * s.heads * s.channels;
  return int((threads + kThreads - 1) / kThreads);
}

extern "C" int scalar_forward(const Sizes* s, const float* value, const float* locations,
                              const float* weights, float* out, cudaStream_t stream) {
  forward<<<blocks(*s), kThreads, 0, stream>>>(*s, value, locations, weights, out);
  return cudaGetLastError();
}

// The gradients must be zero.
extern "C" int scalar_backward(const Sizes* s, const float* grad, const float* value,
                               const float* locations, const float* weights, float* grad_value,
                               float* grad_locations, float* grad_weights, cudaStream_t stream) {
  backward<<<blocks(*s), kThreads, 0, stream>>>(*s, grad, value, locations, weights, grad_value,
                                                grad_locations, grad_weights);
  return cudaGetLastError();
}
