// Where the samples of one head of one query lie: the rows of four corners and their weights.
// Included once per instruction set, after vec.h. Arrays are padded: blocks of kLanes may overrun.

template <class A>
constexpr int kLanes = VECTOR_BYTES / sizeof(A);

template <class A>
using Index = std::conditional_t<sizeof(A) == 4, int32_t, int64_t>;

// What is the same for every query, an entry a sample j = level * P + point.
template <class A>
struct Table {
  int64_t count;
  A *width, *height;                 // of the sample's level
  Index<A>*columns, *lines, *first;  // the same as integers, and the level's first position

  static int64_t padded(const Problem& p) { return p.samples() + kLanes<A>; }
  static size_t bytes(const Problem& p) { return padded(p) * 5 * sizeof(A) + 5 * 64; }

  Table(const Problem& p, Scratch& scratch) : count(p.samples()) {
    width = scratch.take<A>(padded(p));
    height = scratch.take<A>(padded(p));
    columns = scratch.take<Index<A>>(padded(p));
    lines = scratch.take<Index<A>>(padded(p));
    first = scratch.take<Index<A>>(padded(p));
    int64_t start = 0, j = 0;
    for (int64_t level = 0; level < p.levels; ++level) {
      const int64_t h = p.shapes[2 * level], w = p.shapes[2 * level + 1];
      for (int64_t point = 0; point < p.points_per_level; ++point, ++j) set(j, h, w, start);
      start += h * w;
    }
    for (; j < padded(p); ++j) set(j, 0, 0, 0);
  }

  void set(int64_t j, int64_t h, int64_t w, int64_t start) {
    width[j] = A(w);
    height[j] = A(h);
    columns[j] = Index<A>(w);
    lines[j] = Index<A>(h);
    first[j] = Index<A>(start);
  }
};

// Rows of channels, one a position: where position 0 lies, bytes between two, and the row that
// stands for every position outside a level.
struct Rows {
  intptr_t start, stride, outside;
};

// Corner k (top left, top right, bottom left, bottom right) of sample j in an array of corners:
// blocks of kBlock samples, corner by corner, as vectors of addresses fill them.
constexpr int kBlock = VECTOR_BYTES / sizeof(intptr_t);

INLINE int64_t corner_index(int64_t j, int k) {
  return j / kBlock * (4 * kBlock) + k * kBlock + j % kBlock;
}

// The samples of one head of one query.
template <class A>
struct Plan {
  A *x, *y;            // in pixels; then the fractions between the corners
  A* share;            // attention weight
  Index<A>* position;  // of the top left corner
  Index<A>* inside;    // bit k: corner k is inside the level
  intptr_t* from;      // rows of the corners
  intptr_t* to;        // rows of their gradients
  A* weight;           // of the corners, `share` included

  static size_t bytes(const Problem& p) { return Table<A>::padded(p) * 17 * 8 + 8 * 64; }

  Plan(const Problem& p, Scratch& scratch) {
    const int64_t count = Table<A>::padded(p);
    x = scratch.take<A>(count);
    y = scratch.take<A>(count);
    share = scratch.take<A>(count);
    position = scratch.take<Index<A>>(count);
    inside = scratch.take<Index<A>>(count);
    from = scratch.take<intptr_t>(4 * count);
    to = scratch.take<intptr_t>(4 * count);
    weight = scratch.take<A>(4 * count);
  }
};

// From plan.x, plan.y in pixels and plan.share to corners, fractions and weights of one block of
// samples. One that touches no pixel, or is not finite, moves to (-2, -2): wholly outside.
template <class A>
INLINE void find_corners(const Table<A>& table, Plan<A>& plan, int64_t j) {
  constexpr int N = kLanes<A>;
  typedef Vec<A, N> F;
  typedef Vec<Index<A>, N> I;
  F x = load<N>(plan.x + j), y = load<N>(plan.y + j);
  const F least = F{} - A(1), nowhere = F{} - A(2);
  const I touches =
      (x > least) & (x < load<N>(table.width + j)) & (y > least) & (y < load<N>(table.height + j));
  x = touches ? x : nowhere;
  y = touches ? y : nowhere;
  I left = __builtin_convertvector(x, I), top = __builtin_convertvector(y, I);  // towards zero
  left += x < __builtin_convertvector(left, F);                                 // a true lane is -1
  top += y < __builtin_convertvector(top, F);
  x -= __builtin_convertvector(left, F);
  y -= __builtin_convertvector(top, F);

  const I columns = load_raw<I>(table.columns + j), lines = load_raw<I>(table.lines + j);
  const I in_left = left >= 0, in_right = (left + 1 < columns) & touches;
  const I in_top = top >= 0, in_bottom = (top + 1 < lines) & touches;
  store_raw(plan.inside + j, (in_top & ((in_left & 1) | (in_right & 2))) |
                                 (in_bottom & ((in_left & 4) | (in_right & 8))));
  store_raw(plan.position + j, load_raw<I>(table.first + j) + top * columns + left);

  const F share = load<N>(plan.share + j), lower = share * y, upper = share - lower;
  const F lower_right = lower * x, upper_right = upper * x;
  store_raw(plan.x + j, x);
  store_raw(plan.y + j, y);
  const F weights[4] = {upper - upper_right, upper_right, lower - lower_right, lower_right};
  for (int i = 0; i < N; i += kBlock) {
    for (int k = 0; k < 4; ++k) {
      memcpy(plan.weight + corner_index(j + i, k), reinterpret_cast<const A*>(weights + k) + i,
             kBlock * sizeof(A));
    }
  }
}

// The rows of the four corners of one block of kBlock samples.
template <class A>
INLINE void find_rows(const Table<A>& table, const Plan<A>& plan, const Rows& rows,
                      intptr_t* corners, int64_t j) {
  typedef Vec<int64_t, kBlock> I;
  typedef Vec<Index<A>, kBlock> Narrow;
  const I inside = __builtin_convertvector(load_raw<Narrow>(plan.inside + j), I);
  const I columns = __builtin_convertvector(load_raw<Narrow>(table.columns + j), I);
  const I position = __builtin_convertvector(load_raw<Narrow>(plan.position + j), I);
  const I here = rows.start + position * rows.stride, below = here + columns * rows.stride;
  const I outside = I{} + rows.outside;
  corners += corner_index(j, 0);
  store_raw(corners, (inside & 1) != 0 ? here : outside);
  store_raw(corners + kBlock, (inside & 2) != 0 ? here + rows.stride : outside);
  store_raw(corners + 2 * kBlock, (inside & 4) != 0 ? below : outside);
  store_raw(corners + 3 * kBlock, (inside & 8) != 0 ? below + rows.stride : outside);
}

// 2^x for x <= 0 to 2e-7, 0 below -126; NaN stays NaN.
INLINE float exp2_negative(float x) {
  const float in_range = x > -126.0f ? x : -126.0f;
  const int32_t whole = int32_t(in_range - 0.5f);  // towards zero: nearest, for x <= 0
  const float t = in_range - float(whole);
  float y = 1.535335971e-4f;
  y = y * t + 1.339887488e-3f;
  y = y * t + 9.618437370e-3f;
  y = y * t + 5.550332470e-2f;
  y = y * t + 2.402264791e-1f;
  y = y * t + 6.931472029e-1f;
  y = y * t + 1.0f;
  y *= bit_cast<float>((whole + 127) << 23);
  return x >= -126.0f ? y : (x < -126.0f ? 0.0f : x);
}

INLINE double exp_negative(double x) { return exp(x); }
INLINE float exp_negative(float x) { return exp2_negative(x * 1.44269504088896f); }

// Softmax of `count` logits in place, as torch computes it: all -inf gives NaN.
template <class A, int W>
INLINE void softmax(A* __restrict logits, int64_t count) {
  A largest = -A(INFINITY), total = 0;
  int64_t j = 0;
  if (count >= W) {
    Vec<A, W> most = load<W>(logits);
    for (j = W; j + W <= count; j += W) {
      Vec<A, W> next = load<W>(logits + j);
      most = most > next ? most : next;
    }
    largest = maximum<A, W>(most);
  }
  for (; j < count; ++j) largest = largest > logits[j] ? largest : logits[j];
  for (j = 0; j < count; ++j) logits[j] = exp_negative(logits[j] - largest);
  j = 0;
  if (count >= W) {
    Vec<A, W> totals = load<W>(logits);
    for (j = W; j + W <= count; j += W) totals += load<W>(logits + j);
    total = sum<A, W>(totals);
  }
  for (; j < count; ++j) total += logits[j];
  const A scale = A(1) / total;
  for (j = 0; j < count; ++j) logits[j] *= scale;
}
