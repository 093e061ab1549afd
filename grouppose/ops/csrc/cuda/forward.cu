#include <type_traits>

#include "device.cuh"
#include "dispatch.cuh"

namespace grouppose {

__device__ uint4 nothing;  // zeros: what a sample reads that touches no pixel

// where = position * 4 + 2 * (there is a pixel below) + (there is one to the right); negative for a
// sample that touches no pixel. At a border, where a corner is missing, the share is scaled so that
// the corners that are there count as much as they should.
template <class T>
__device__ __forceinline__ void plan_samples(const Problem& p, const Place& place, int bits,
                                             Sample<Acc<T>>* plan) {
  using A = Acc<T>;
  find_shares<T>(p, place, bits, plan);
  if (place.query < 0) return;
  const int count = p.levels * p.points_per_level;
  for (int j = place.lane; j < count; j += 1 << bits) {
    const int level = j / p.points_per_level, width = p.width[level], height = p.height[level];
    A x, y, share = plan[j].share;
    find_pixels<T>(p, place, j, level, x, y);
    if (!(x > A(-1) && y > A(-1) && x < A(width) && y < A(height))) {
      plan[j] = {-4, A(0), A(0), A(0)};
      continue;
    }
    int left = int(floor(x)), top = int(floor(y)), right = 1, below = 1;
    x -= A(left);
    y -= A(top);
    if (left < 0 || left + 1 == width) {
      share *= left < 0 ? x : A(1) - x;
      left = left < 0 ? 0 : left;
      x = 0;
      right = 0;
    }
    if (top < 0 || top + 1 == height) {
      share *= top < 0 ? y : A(1) - y;
      top = top < 0 ? 0 : top;
      y = 0;
      below = 0;
    }
    plan[j] = {(p.first[level] + top * width + left) * 4 + 2 * below + right, x, y, share};
  }
}

template <class T, int VEC>
__device__ __forceinline__ void add_corner(const T* row, Acc<T> weight, Acc<T> (&total)[VEC]) {
  Acc<T> values[VEC];
  load_channels<T, VEC>(row, values);
#pragma unroll
  for (int i = 0; i < VEC; ++i) total[i] += weight * values[i];
}

template <class T, int VEC>
__global__ void __launch_bounds__(kThreads) forward_kernel(const Problem p, const Layout layout) {
  using A = Acc<T>;
  extern __shared__ char memory[];
  const Place place = find_place(p, layout);
  const int count = p.levels * p.points_per_level;
  Sample<A>* plan = reinterpret_cast<Sample<A>*>(memory) + place.group * count;
  plan_samples<T>(p, place, layout.bits, plan);
  __syncwarp();
  if (place.query < 0) return;

  const int row = p.heads * p.channels;
  const T* value = static_cast<const T*>(p.value) + place.picture * p.positions * row;
  T* out = static_cast<T*>(p.out) + (place.query * p.heads + place.head) * p.channels;
  for (int c = place.lane * VEC; c < p.channels; c += VEC << layout.bits) {
    const T* channels = value + place.head * p.channels + c;
    A total[VEC] = {};
    const Sample<A>* next = plan;
    for (int level = 0; level < p.levels; ++level) {
      const int line = p.width[level] * row;
#pragma unroll 4
      for (int point = 0; point < p.points_per_level; ++point) {
        const Sample<A> s = *next++;
        const T* top = s.where < 0 ? reinterpret_cast<const T*>(&nothing)
                                   : channels + int64_t(s.where >> 2) * row;
        const T* bottom = top + (s.where & 2 ? line : 0);
        const int right = s.where & 1 ? row : 0;
        const A lower = s.share * s.y, upper = s.share - lower;
        const A lower_right = lower * s.x, upper_right = upper * s.x;
        add_corner<T, VEC>(top, upper - upper_right, total);
        add_corner<T, VEC>(top + right, upper_right, total);
        add_corner<T, VEC>(bottom, lower - lower_right, total);
        add_corner<T, VEC>(bottom + right, lower_right, total);
      }
    }
    store_channels<T, VEC>(out + c, total);
  }
}

template <class T, int VEC>
struct Forward {
  static void launch(const Problem& p, cudaStream_t stream) {
    const Layout layout = lay_out(p, VEC, sizeof(Sample<Acc<T>>));
    const int bytes = layout.groups * p.levels * p.points_per_level * sizeof(Sample<Acc<T>>);
    const unsigned blocks = unsigned(p.batch) * layout.tiles * p.heads;
    forward_kernel<T, VEC><<<blocks, layout.threads(), bytes, stream>>>(p, layout);
  }
};

void launch_forward(const Problem& p, cudaStream_t stream) { dispatch<Forward>(p, p, stream); }

// Groups just wide enough for the channels; blocks as large as their plans allow.
Layout lay_out(const Problem& p, int channels_per_thread, int sample_bytes) {
  const int count = p.levels * p.points_per_level;
  Layout layout{};
  layout.bits = 2;
  while (layout.bits < 5 && (channels_per_thread << layout.bits < p.channels ||
                             (32 >> layout.bits) * count * sample_bytes > kSharedBytes)) {
    ++layout.bits;
  }
  layout.groups = kThreads >> layout.bits;
  while (layout.groups << layout.bits > 32 && layout.groups * count * sample_bytes > kSharedBytes) {
    layout.groups /= 2;
  }
  layout.tile_width = 1;
  while (layout.tile_width * layout.tile_width < layout.groups) layout.tile_width *= 2;
  layout.tile_height = layout.groups / layout.tile_width;
  layout.tiled = p.queries == p.positions;
  if (layout.tiled) {
    for (int level = 0; level < p.levels; ++level) {
      layout.across[level] = (p.width[level] + layout.tile_width - 1) / layout.tile_width;
      const int down = (p.height[level] + layout.tile_height - 1) / layout.tile_height;
      layout.first_tile[level + 1] = layout.first_tile[level] + layout.across[level] * down;
    }
    layout.tiles = layout.first_tile[p.levels];
  } else {
    layout.tiles = (p.queries + layout.groups - 1) / layout.groups;
  }
  return layout;
}

}  // namespace grouppose
