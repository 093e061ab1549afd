// What the forward and the backward kernel share: how threads are laid out over the queries, and
// where samples lie.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "msda.h"

namespace grouppose {

template <class T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};
template <class T>
using Acc = typename Accumulator<T>::type;

template <class T>
constexpr int kWide = 16 / sizeof(T);  // channels of a 128-bit load

constexpr int kThreads = 256;
constexpr int kSharedBytes = 48 * 1024;
constexpr unsigned kWarp = 0xffffffffu;

// A group of 2^bits threads works on one head of one query. Blocks are tiles of neighbouring
// queries of one head: in the encoder, whose queries are the positions themselves, rectangles.
struct Layout {
  int bits, groups;  // of a block
  bool tiled;
  int tile_width, tile_height;
  int first_tile[kMaxLevels + 1], across[kMaxLevels];
  int tiles;  // of one picture and head

  int threads() const { return groups << bits; }
};

template <class A>
struct alignas(16) Sample {
  int where;  // position and flags; each kernel says which
  A x, y;     // fractions between the corners
  A share;    // attention weight
};

// VEC channels at p, as the accumulator's type.
template <class T, int VEC>
__device__ __forceinline__ void load_channels(const T* p, Acc<T> (&out)[VEC]) {
  if constexpr (VEC == 1) {
    out[0] = static_cast<Acc<T>>(*p);
  } else {
    static_assert(VEC * sizeof(T) == 16, "one 128-bit load");
    const uint4 raw = __ldg(reinterpret_cast<const uint4*>(p));
    if constexpr (sizeof(T) == 2) {
      const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if constexpr (std::is_same_v<T, __nv_bfloat16>) {
          out[2 * i] = __uint_as_float(words[i] << 16);
          out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
        } else {
          const float2 both = __half22float2(*reinterpret_cast<const __half2*>(&words[i]));
          out[2 * i] = both.x;
          out[2 * i + 1] = both.y;
        }
      }
    } else {
      const Acc<T>* values = reinterpret_cast<const Acc<T>*>(&raw);
#pragma unroll
      for (int i = 0; i < VEC; ++i) out[i] = values[i];
    }
  }
}

template <class T, int VEC>
__device__ __forceinline__ void store_channels(T* p, const Acc<T> (&values)[VEC]) {
  if constexpr (VEC == 1) {
    *p = static_cast<T>(values[0]);
  } else {
    uint4 raw;
    T* rounded = reinterpret_cast<T*>(&raw);
#pragma unroll
    for (int i = 0; i < VEC; ++i) rounded[i] = static_cast<T>(values[i]);
    *reinterpret_cast<uint4*>(p) = raw;
  }
}

// Element `i` of points or weights, which are of value's type or the accumulator's.
template <class T>
__device__ __forceinline__ Acc<T> load_point(const void* data, bool narrow, int64_t i) {
  if (narrow) return static_cast<Acc<T>>(static_cast<const T*>(data)[i]);
  return static_cast<const Acc<T>*>(data)[i];
}

template <class T>
__device__ __forceinline__ void store_point(void* data, bool narrow, int64_t i, Acc<T> x) {
  if (narrow) {
    static_cast<T*>(data)[i] = static_cast<T>(x);
  } else {
    static_cast<Acc<T>*>(data)[i] = x;
  }
}

template <class A>
__device__ __forceinline__ A sum_of_group(A x, int bits) {
  for (int i = 1; i < 1 << bits; i <<= 1) x += __shfl_xor_sync(kWarp, x, i);
  return x;
}

template <class A>
__device__ __forceinline__ A largest_of_group(A x, int bits) {
  for (int i = 1; i < 1 << bits; i <<= 1) {
    const A other = __shfl_xor_sync(kWarp, x, i);
    x = x > other ? x : other;
  }
  return x;
}

// Where this thread works. A group without a query (`query` < 0) still takes part in shuffles.
struct Place {
  int lane, group, head;
  int64_t query;    // of B * Q
  int64_t picture;  // of B
};

__device__ __forceinline__ Place find_place(const Problem& p, const Layout& layout) {
  Place place;
  place.lane = threadIdx.x & ((1 << layout.bits) - 1);
  place.group = threadIdx.x >> layout.bits;
  place.head = blockIdx.x % p.heads;
  const int tile = blockIdx.x / p.heads % layout.tiles;
  place.picture = blockIdx.x / p.heads / layout.tiles;
  int query = tile * layout.groups + place.group;
  bool exists = query < p.queries;
  if (layout.tiled) {
    int level = 0;
    while (tile >= layout.first_tile[level + 1]) ++level;
    const int t = tile - layout.first_tile[level];
    const int x = t % layout.across[level] * layout.tile_width + place.group % layout.tile_width;
    const int y = t / layout.across[level] * layout.tile_height + place.group / layout.tile_width;
    query = p.first[level] + y * p.width[level] + x;
    exists = x < p.width[level] && y < p.height[level];
  }
  place.query = exists ? place.picture * p.queries + query : -1;
  return place;
}

// The attention weights of this head of this query into plan[j].share; lane i owns the samples
// j = i, i + 2^bits, ... Softmax of the logits in the fused form.
template <class T>
__device__ __forceinline__ void find_shares(const Problem& p, const Place& place, int bits,
                                            Sample<Acc<T>>* plan) {
  using A = Acc<T>;
  const int count = p.levels * p.points_per_level, step = 1 << bits;
  const bool narrow = p.point_type == p.value_type;
  const int64_t index = (place.query * p.heads + place.head) * count;
  A largest = -INFINITY;
  for (int j = place.lane; j < count; j += step) {
    const A x = place.query < 0 ? A(0) : load_point<T>(p.weights, narrow, index + j);
    plan[j].share = x;
    largest = x > largest ? x : largest;
  }
  if (!p.reference) return;
  largest = largest_of_group(largest, bits);
  A total = 0;
  for (int j = place.lane; j < count; j += step) {
    const A x = exp(plan[j].share - largest);
    plan[j].share = x;
    total += x;
  }
  const A scale = A(1) / sum_of_group(total, bits);
  for (int j = place.lane; j < count; j += step) plan[j].share *= scale;
}

// Sample `j` of this head of this query in pixels of its level.
template <class T>
__device__ __forceinline__ void find_pixels(const Problem& p, const Place& place, int j, int level,
                                            Acc<T>& x, Acc<T>& y) {
  using A = Acc<T>;
  const int count = p.levels * p.points_per_level;
  const bool narrow = p.point_type == p.value_type;
  const int64_t index = 2 * ((place.query * p.heads + place.head) * count + j);
  x = load_point<T>(p.points, narrow, index);
  y = load_point<T>(p.points, narrow, index + 1);
  const A width = p.width[level], height = p.height[level];
  if (p.reference) {
    const A* reference = static_cast<const A*>(p.reference) + 2 * (place.query * p.levels + level);
    x += reference[0] * width - A(0.5);
    y += reference[1] * height - A(0.5);
  } else {
    x = x * width - A(0.5);
    y = y * height - A(0.5);
  }
}

Layout lay_out(const Problem& p, int channels_per_thread, int sample_bytes);

}  // namespace grouppose
