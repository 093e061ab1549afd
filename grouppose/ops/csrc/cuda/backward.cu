#include <type_traits>

#include "device.cuh"
#include "dispatch.cuh"

namespace grouppose {

constexpr int kBatch = 4;  // samples whose gradients are summed over a group together

// where = position of the top left corner * 16 + a bit for each corner inside the level: 1 top
// left, 2 top right, 4 bottom left, 8 bottom right.
template <class T>
__device__ __forceinline__ void plan_samples(const Problem& p, const Place& place, int bits,
                                             Sample<Acc<T>>* plan) {
  using A = Acc<T>;
  find_shares<T>(p, place, bits, plan);
  const int count = p.levels * p.points_per_level;
  for (int j = place.lane; j < count; j += 1 << bits) {
    const int level = j / p.points_per_level, width = p.width[level], height = p.height[level];
    A x = -2, y = -2;
    if (place.query >= 0) find_pixels<T>(p, place, j, level, x, y);
    if (!(x > A(-1) && y > A(-1) && x < A(width) && y < A(height))) {
      plan[j] = {0, A(0), A(0), plan[j].share};
      continue;
    }
    const int left = int(floor(x)), top = int(floor(y));
    const int across = (left >= 0) + 2 * (left + 1 < width);
    const int inside = (top >= 0 ? across : 0) + (top + 1 < height ? 4 * across : 0);
    plan[j] = {(p.first[level] + top * width + left) * 16 + inside, x - A(left), y - A(top),
               plan[j].share};
  }
}

// Adds weight * grad to VEC sums, whatever other threads add to them meanwhile.
template <int VEC>
__device__ __forceinline__ void add_to(float* sums, float weight, const float (&grad)[VEC],
                                       double) {
#if __CUDA_ARCH__ >= 900
  constexpr int kQuads = VEC / 4 * 4;  // added in 128-bit requests
#else
  constexpr int kQuads = 0;
#endif
#pragma unroll
  for (int i = 0; i < kQuads; i += 4) {
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(sums + i),
                 "f"(weight * grad[i]), "f"(weight * grad[i + 1]), "f"(weight * grad[i + 2]),
                 "f"(weight * grad[i + 3])
                 : "memory");
  }
#pragma unroll
  for (int i = kQuads; i < VEC; ++i) atomicAdd(sums + i, weight * grad[i]);
}

template <int VEC>
__device__ __forceinline__ void add_to(double* sums, double weight, const double (&grad)[VEC],
                                       double) {
#pragma unroll
  for (int i = 0; i < VEC; ++i) atomicAdd(sums + i, weight * grad[i]);
}

// Integer sums are the same in any order.
template <int VEC, class A>
__device__ __forceinline__ void add_to(long long* sums, A weight, const A (&grad)[VEC],
                                       double scale) {
#pragma unroll
  for (int i = 0; i < VEC; ++i) {
    const long long term = __double2ll_rn(double(weight * grad[i]) * scale);
    atomicAdd(reinterpret_cast<unsigned long long*>(sums + i),
              static_cast<unsigned long long>(term));
  }
}

// A power of two: times it, the sum of all terms of one picture fits in 62 bits.
__device__ __forceinline__ double integer_scale(const Problem& p, const float* bounds) {
  const double terms = double(p.queries) * p.levels * p.points_per_level;
  const double weight = p.reference ? 1.0 : double(bounds[1]);
  const double most = double(bounds[0]) * weight * terms * 1.001;
  if (!(most < INFINITY)) return NAN;  // as the gradient would be
  return most > 0 ? exp2(62 - ceil(log2(most))) : 1.0;
}

// One corner: its products with the gradient of the output, and its part of the sums.
template <class T, int VEC, class S>
__device__ __forceinline__ Acc<T> visit(const T* row, S* sums, Acc<T> weight,
                                        const Acc<T> (&grad)[VEC], double scale) {
  Acc<T> values[VEC], product = 0;
  load_channels<T, VEC>(row, values);
#pragma unroll
  for (int i = 0; i < VEC; ++i) product += values[i] * grad[i];
  add_to<VEC>(sums, weight, grad, scale);
  return product;
}

// Sums r[k][...] over the group for kBatch samples k, halving the samples a thread holds: after it
// r[0] of lane i is the whole sum for sample i >> (bits - 2).
template <class A>
__device__ __forceinline__ void sum_batch(A (&r)[kBatch][3], int lane, int bits) {
  const bool upper = lane >> (bits - 1) & 1, odd = lane >> (bits - 2) & 1;
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const A other = __shfl_xor_sync(kWarp, upper ? r[k][i] : r[k + 2][i], 1 << (bits - 1));
      r[k][i] = (upper ? r[k + 2][i] : r[k][i]) + other;
    }
  }
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const A other = __shfl_xor_sync(kWarp, odd ? r[0][i] : r[1][i], 1 << (bits - 2));
    r[0][i] = sum_of_group((odd ? r[1][i] : r[0][i]) + other, bits - 2);
  }
}

// One sample, this thread's channels: the gradients of weight, x and y (in pixels, over the share).
template <class T, int VEC, class S>
__device__ __forceinline__ void one_sample(const Sample<Acc<T>>& s, const T* value, S* sums,
                                           int row, int line, const Acc<T> (&grad)[VEC],
                                           double scale, Acc<T> (&result)[3]) {
  using A = Acc<T>;
  const int64_t at = int64_t(s.where >> 4) * row;
  const A lower = s.share * s.y, upper = s.share - lower;
  const A lower_right = lower * s.x, upper_right = upper * s.x;
  A a = 0, b = 0, c = 0, d = 0;
  if (s.where & 1) a = visit<T, VEC>(value + at, sums + at, upper - upper_right, grad, scale);
  if (s.where & 2) {
    b = visit<T, VEC>(value + at + row, sums + at + row, upper_right, grad, scale);
  }
  const int64_t below = at + line;
  if (s.where & 4) {
    c = visit<T, VEC>(value + below, sums + below, lower - lower_right, grad, scale);
  }
  if (s.where & 8) {
    d = visit<T, VEC>(value + below + row, sums + below + row, lower_right, grad, scale);
  }
  const A top = a + s.x * (b - a), bottom = c + s.x * (d - c);
  result[0] += top + s.y * (bottom - top);
  result[1] += (b - a) + s.y * ((d - c) - (b - a));
  result[2] += bottom - top;
}

// From the plan, which now holds the gradients of weight, x and y, to the outputs.
template <class T>
__device__ __forceinline__ void write_grads(const Problem& p, const Gradients& g,
                                            const Place& place, int bits,
                                            const Sample<Acc<T>>* plan, const Acc<T>* grad_shares) {
  using A = Acc<T>;
  const int count = p.levels * p.points_per_level, step = 1 << bits;
  const bool narrow = p.point_type == p.value_type;
  const int64_t index = (place.query * p.heads + place.head) * count;
  A mean = 0;
  if (p.reference) {
    for (int j = place.lane; j < count; j += step) mean += plan[j].share * grad_shares[j];
    mean = sum_of_group(mean, bits);
  }
  if (place.query < 0) return;
  for (int j = place.lane; j < count; j += step) {
    const int level = j / p.points_per_level;
    const A width = p.reference ? A(1) : A(p.width[level]);
    const A height = p.reference ? A(1) : A(p.height[level]);
    const A share = plan[j].share, grad = grad_shares[j];
    store_point<T>(g.grad_weights, narrow, index + j, p.reference ? share * (grad - mean) : grad);
    store_point<T>(g.grad_points, narrow, 2 * (index + j), share * plan[j].x * width);
    store_point<T>(g.grad_points, narrow, 2 * (index + j) + 1, share * plan[j].y * height);
  }
}

template <class T, int VEC, class S>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const Problem p, const Gradients g, const Layout layout) {
  using A = Acc<T>;
  extern __shared__ char memory[];
  const Place place = find_place(p, layout);
  const int count = p.levels * p.points_per_level;
  Sample<A>* plan = reinterpret_cast<Sample<A>*>(memory) + place.group * count;
  A* grad_shares =
      reinterpret_cast<A*>(reinterpret_cast<Sample<A>*>(memory) + layout.groups * count) +
      place.group * count;
  plan_samples<T>(p, place, layout.bits, plan);
  __syncwarp();

  double scale = 1;
  if constexpr (std::is_same_v<S, long long>) scale = integer_scale(p, g.bounds);
  const int row = p.heads * p.channels;
  const int64_t start = place.picture * p.positions * row + place.head * p.channels;
  const T* value = static_cast<const T*>(p.value) + start;
  S* sums = static_cast<S*>(g.sums) + start;
  const T* grad_out =
      static_cast<const T*>(g.grad_out) + (place.query * p.heads + place.head) * p.channels;
  for (int first = 0; first < count; first += kBatch) {
    A r[kBatch][3] = {};
    for (int c = place.lane * VEC; place.query >= 0 && c < p.channels; c += VEC << layout.bits) {
      A grad[VEC];
      load_channels<T, VEC>(grad_out + c, grad);
#pragma unroll
      for (int k = 0; k < kBatch; ++k) {
        if (first + k >= count) break;
        const int line = p.width[(first + k) / p.points_per_level] * row;
        one_sample<T, VEC>(plan[first + k], value + c, sums + c, row, line, grad, scale, r[k]);
      }
    }
    sum_batch(r, place.lane, layout.bits);  // also lets every thread read the plan first
    const int mine = first + (place.lane >> (layout.bits - 2));
    if ((place.lane & ((1 << (layout.bits - 2)) - 1)) == 0 && mine < count) {
      grad_shares[mine] = r[0][0];
      plan[mine].x = r[0][1];
      plan[mine].y = r[0][2];
    }
  }
  __syncwarp();
  write_grads<T>(p, g, place, layout.bits, plan, grad_shares);
}

template <class T, int VEC>
struct Backward {
  static void launch(const Problem& p, const Gradients& g, cudaStream_t stream) {
    const int size = sizeof(Sample<Acc<T>>) + sizeof(Acc<T>);
    const Layout layout = lay_out(p, VEC, size);
    const int bytes = layout.groups * p.levels * p.points_per_level * size;
    const unsigned blocks = unsigned(p.batch) * layout.tiles * p.heads;
    if (g.bounds) {
      backward_kernel<T, VEC, long long><<<blocks, layout.threads(), bytes, stream>>>(p, g, layout);
    } else {
      backward_kernel<T, VEC, Acc<T>><<<blocks, layout.threads(), bytes, stream>>>(p, g, layout);
    }
  }
};

void launch_backward(const Problem& p, const Gradients& g, cudaStream_t stream) {
  dispatch<Backward>(p, p, g, stream);
}

// One thread a query, level and axis.
template <class T>
__global__ void sum_reference_kernel(const Problem p, const void* grad_points, Acc<T>* out) {
  const int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  if (i >= int64_t(p.batch) * p.queries * p.levels * 2) return;
  const int axis = i % 2, level = i / 2 % p.levels;
  const int64_t query = i / 2 / p.levels;
  const bool narrow = p.point_type == p.value_type;
  Acc<T> total = 0;
  for (int head = 0; head < p.heads; ++head) {
    const int64_t at = ((query * p.heads + head) * p.levels + level) * p.points_per_level;
    for (int point = 0; point < p.points_per_level; ++point) {
      total += load_point<T>(grad_points, narrow, 2 * (at + point) + axis);
    }
  }
  out[i] = total * Acc<T>(axis ? p.height[level] : p.width[level]);
}

template <class T, int VEC>
struct SumReference {
  static void launch(const Problem& p, const void* grad_points, void* out, cudaStream_t stream) {
    const int64_t count = int64_t(p.batch) * p.queries * p.levels * 2;
    const unsigned blocks = unsigned((count + kThreads - 1) / kThreads);
    sum_reference_kernel<T>
        <<<blocks, kThreads, 0, stream>>>(p, grad_points, static_cast<Acc<T>*>(out));
  }
};

void launch_sum_reference(const Problem& p, const void* grad_points, void* grad_reference,
                          cudaStream_t stream) {
  dispatch<SumReference>(p, p, grad_points, grad_reference, stream);
}

// Bits of floats that are not negative are ordered as the floats are; NaN is above all.
template <class T>
__global__ void bound_kernel(const T* x, int64_t count, int* bound) {
  int largest = 0;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < count;
       i += int64_t(gridDim.x) * blockDim.x) {
    largest = max(largest, __float_as_int(static_cast<float>(x[i])) & 0x7fffffff);
  }
  int bits = __float_as_int(__int_as_float(largest) * 1.000001f);
  for (int i = 16; i; i >>= 1) bits = max(bits, __shfl_xor_sync(kWarp, bits, i));
  if (threadIdx.x % 32 == 0) atomicMax(bound, bits);
}

void launch_bound(const void* x, Type type, int64_t count, float* bounds, int slot,
                  cudaStream_t stream) {
  int* bound = reinterpret_cast<int*>(bounds + slot);
  const unsigned blocks =
      unsigned(count / (kThreads * 8) < 1024 ? count / (kThreads * 8) + 1 : 1024);
  switch (type) {
    case Type::f32:
      return bound_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const float*>(x), count,
                                                           bound);
    case Type::f64:
      return bound_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const double*>(x), count,
                                                           bound);
    case Type::bf16:
      return bound_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const __nv_bfloat16*>(x),
                                                           count, bound);
    case Type::f16:
      return bound_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const __half*>(x), count,
                                                           bound);
  }
}

template <class T>
__global__ void from_integers_kernel(const Problem p, const Gradients g, int64_t count, T* out) {
  const int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  if (i >= count) return;
  const double unit = 1.0 / integer_scale(p, g.bounds);
  out[i] = static_cast<T>(static_cast<Acc<T>>(static_cast<const long long*>(g.sums)[i] * unit));
}

template <class T, int VEC>
struct FromIntegers {
  static void launch(const Problem& p, const Gradients& g, void* out, cudaStream_t stream) {
    const int64_t count = int64_t(p.batch) * p.positions * p.heads * p.channels;
    const unsigned blocks = unsigned((count + kThreads - 1) / kThreads);
    from_integers_kernel<T><<<blocks, kThreads, 0, stream>>>(p, g, count, static_cast<T*>(out));
  }
};

void launch_from_integers(const Problem& p, const Gradients& g, void* grad_value,
                          cudaStream_t stream) {
  dispatch<FromIntegers>(p, p, g, grad_value, stream);
}

}  // namespace grouppose
