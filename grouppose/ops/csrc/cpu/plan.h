// Where samples lie: the rows of their four corners and their weights. A plan covers one head and
// one level of a chunk of queries: their neighbouring samples share what the first cache holds.
// Included once per instruction set, after vec.h. Arrays are padded: blocks of kLanes may overrun.

template <class A>
constexpr int kLanes = VECTOR_BYTES / sizeof(A);

template <class A>
using Index = std::conditional_t<sizeof(A) == 4, int32_t, int64_t>;

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

struct Level {
  int64_t height, width, first;  // `first`: the position its first pixel has
};

// `count` samples of one level, P of each query.
template <class A>
struct Plan {
  const A* pairs;      // x, y as given; a view
  const A* share;      // attention weights; a view
  A *x, *y;            // fractions between the corners
  Index<A>* position;  // of the top left corner
  Index<A>* inside;    // bit k: corner k is inside the level
  intptr_t* from;      // rows of the corners
  A* weight;           // of the corners, `share` included

  static int64_t padded(int64_t count) { return count + 16; }
  static size_t bytes(int64_t count) { return padded(count) * 12 * 8 + 6 * 64; }

  Plan(int64_t count, Scratch& scratch) {
    x = scratch.take<A>(padded(count));
    y = scratch.take<A>(padded(count));
    position = scratch.take<Index<A>>(padded(count));
    inside = scratch.take<Index<A>>(padded(count));
    from = scratch.take<intptr_t>(4 * padded(count));
    weight = scratch.take<A>(4 * padded(count));
  }
};

// From pairs and share to corners, fractions and weights of one block of samples. `scale` and
// `shift` make pixels of the pairs. A sample that touches no pixel, or is not finite, moves to
// (-2, -2): wholly outside.
template <class A>
INLINE void find_corners(const Level& level, A x_scale, A y_scale, A shift, Plan<A>& plan,
                         int64_t j) {
  constexpr int N = kLanes<A>;
  typedef Vec<A, N> F;
  typedef Vec<Index<A>, N> I;
  const Lanes<N> all;
  const F low = load<N>(plan.pairs + 2 * j), high = load<N>(plan.pairs + 2 * j + N);
  F x = shuffle<evens>(low, high, all) * x_scale + shift;
  F y = shuffle<odds>(low, high, all) * y_scale + shift;
  const F least = F{} - A(1), nowhere = F{} - A(2);
  const I touches = (x > least) & (x < A(level.width)) & (y > least) & (y < A(level.height));
  x = touches ? x : nowhere;
  y = touches ? y : nowhere;
  I left = __builtin_convertvector(x, I), top = __builtin_convertvector(y, I);  // towards zero
  left += x < __builtin_convertvector(left, F);                                 // a true lane is -1
  top += y < __builtin_convertvector(top, F);
  x -= __builtin_convertvector(left, F);
  y -= __builtin_convertvector(top, F);

  const Index<A> columns = Index<A>(level.width), lines = Index<A>(level.height);
  const I in_left = left >= 0, in_right = (left + 1 < columns) & touches;
  const I in_top = top >= 0, in_bottom = (top + 1 < lines) & touches;
  store_raw(plan.inside + j, (in_top & ((in_left & 1) | (in_right & 2))) |
                                 (in_bottom & ((in_left & 4) | (in_right & 8))));
  store_raw(plan.position + j, Index<A>(level.first) + top * columns + left);

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
INLINE void find_rows(const Level& level, const Plan<A>& plan, const Rows& rows, int64_t j) {
  typedef Vec<int64_t, kBlock> I;
  typedef Vec<Index<A>, kBlock> Narrow;
  const I inside = __builtin_convertvector(load_raw<Narrow>(plan.inside + j), I);
  const I position = __builtin_convertvector(load_raw<Narrow>(plan.position + j), I);
  const I here = rows.start + position * rows.stride, below = here + level.width * rows.stride;
  const I outside = I{} + rows.outside;
  intptr_t* corners = plan.from + corner_index(j, 0);
  store_raw(corners, (inside & 1) != 0 ? here : outside);
  store_raw(corners + kBlock, (inside & 2) != 0 ? here + rows.stride : outside);
  store_raw(corners + 2 * kBlock, (inside & 4) != 0 ? below : outside);
  store_raw(corners + 3 * kBlock, (inside & 8) != 0 ? below + rows.stride : outside);
}

// e^x for x <= 0 to 2e-7, 0 where that is below 2^-126; NaN stays NaN.
template <int N>
INLINE Vec<float, N> exp_negative(const Vec<float, N>& x) {
  typedef Vec<float, N> F;
  typedef Vec<int32_t, N> I;
  const F least = F{} - 126.0f, zero = F{}, power = x * 1.44269504088896f;
  const F in_range = power > least ? power : least;
  const I whole = __builtin_convertvector(in_range - 0.5f, I);  // towards zero: the nearest
  const F t = in_range - __builtin_convertvector(whole, F);
  F y = t * 1.535335971e-4f + 1.339887488e-3f;
  y = y * t + 9.618437370e-3f;
  y = y * t + 5.550332470e-2f;
  y = y * t + 2.402264791e-1f;
  y = y * t + 6.931472029e-1f;
  y = y * t + 1.0f;
  y *= bit_cast<F>((whole + 127) << 23);
  const F below = power < least ? zero : x;
  return power >= least ? y : below;
}

template <int N>
INLINE Vec<double, N> exp_negative(Vec<double, N> x) {
  for (int i = 0; i < N; ++i) x[i] = exp(x[i]);
  return x;
}

// Softmax of `rows` rows of `count` logits in place, `stride` apart, a multiple of kLanes that the
// rows may fill; as torch computes it: all -inf gives NaN. Loops over the rows one step at a time
// let the processor work on many rows at once. `scratch` holds a number a row.
template <class A>
INLINE void softmax_rows(A* logits, int64_t rows, int64_t count, int64_t stride, A* scratch) {
  constexpr int N = kLanes<A>;
  typedef Vec<A, N> F;
  for (int64_t q = 0; q < rows; ++q) {
    A* row = logits + q * stride;
    for (int64_t j = count; j < stride; ++j) row[j] = -A(INFINITY);
    F most = load<N>(row);
    for (int64_t j = N; j < stride; j += N) {
      const F next = load<N>(row + j);
      most = most > next ? most : next;
    }
    scratch[q] = maximum<A, N>(most);
  }
  for (int64_t q = 0; q < rows; ++q) {
    for (int64_t j = 0; j < stride; j += N) {
      A* at = logits + q * stride + j;
      store<N>(at, exp_negative<N>(load<N>(at) - scratch[q]));
    }
  }
  for (int64_t q = 0; q < rows; ++q) {
    F total = load<N>(logits + q * stride);
    for (int64_t j = N; j < stride; j += N) total += load<N>(logits + q * stride + j);
    scratch[q] = A(1) / sum<A, N>(total);
  }
  for (int64_t q = 0; q < rows; ++q) {
    for (int64_t j = 0; j < stride; j += N) {
      store<N>(logits + q * stride + j, load<N>(logits + q * stride + j) * scratch[q]);
    }
  }
}

// A few values: inline, where memcpy would be a call.
template <class A>
INLINE void copy_few(const A* from, int64_t count, A* to) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) store<4>(to + i, load<4>(from + i));
  for (; i < count; ++i) to[i] = from[i];
}

// `count` values of Type `type` at element `index` of `data`, as A.
template <class A>
INLINE void load_many(const void* data, Type type, int64_t index, int64_t count, A* __restrict to) {
  if (type == Type::bf16) {
    const bf16* from = static_cast<const bf16*>(data) + index;
    for (int64_t i = 0; i < count; ++i) to[i] = load<1>(from + i);
  } else if (type == Type::f16) {
    const f16* from = static_cast<const f16*>(data) + index;
    for (int64_t i = 0; i < count; ++i) to[i] = load<1>(from + i);
  } else {
    copy_few(static_cast<const A*>(data) + index, count, to);
  }
}

// Asks for what will be read soon: a few lines here and there, which no processor foresees.
INLINE void fetch(intptr_t start, int64_t bytes) {
  for (intptr_t line = start & -64; line < start + bytes; line += 64) {
    __builtin_prefetch(reinterpret_cast<const void*>(line));
  }
}

// A run of queries of one picture, and one head.
struct Chunk {
  int64_t picture, first, count, head;  // `first` of B * Q
};

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Enough queries that neighbours meet in a plan, few enough that it stays in the first cache.
INLINE int64_t chunk_size(const Problem& p) {
  const int64_t size = 128 / (p.points_per_level > 0 ? p.points_per_level : 1);
  return size < 4 ? 4 : (size > 64 ? 64 : size);
}

// Plans the levels of one chunk after another.
template <class A>
class Planner {
  static int64_t plane(const Problem& p) {
    return Plan<A>::padded(chunk_size(p) * p.points_per_level);
  }
  static int64_t row(const Problem& p) {
    return (p.samples() + kLanes<A> - 1) / kLanes<A> * kLanes<A>;
  }

 public:
  static size_t bytes(const Problem& p) {
    return Plan<A>::bytes(chunk_size(p) * p.points_per_level) +
           (p.levels * plane(p) * 3 + row(p) * (2 + chunk_size(p)) + chunk_size(p)) * sizeof(A) +
           p.levels * sizeof(Level) + 6 * 64;
  }

  Planner(const Problem& p, Scratch& scratch)
      : plan(chunk_size(p) * p.points_per_level, scratch),
        p_(p),
        pairs_(scratch.take<A>(2 * p.levels * plane(p))),
        shares_(scratch.take<A>(p.levels * plane(p))),
        pair_row_(scratch.take<A>(2 * row(p))),
        logits_(scratch.take<A>(chunk_size(p) * row(p))),
        totals_(scratch.take<A>(chunk_size(p))),
        levels_(scratch.take<Level>(p.levels)) {
    memset(pairs_, 0, 2 * p.levels * plane(p) * sizeof(A));
    memset(shares_, 0, p.levels * plane(p) * sizeof(A));
    int64_t first = 0;
    for (int64_t i = 0; i < p.levels; ++i) {
      levels_[i] = {p.shapes[2 * i], p.shapes[2 * i + 1], first};
      first += levels_[i].height * levels_[i].width;
    }
  }

  const Level& level(int64_t i) const { return levels_[i]; }

  // Reads what belongs to one head of a chunk, sorted by level. Attention weights come from
  // `softmax` where that has been computed before.
  INLINE void begin(const Chunk& chunk, const A* softmax) {
    count_ = chunk.count * p_.points_per_level;
    const int64_t n = p_.samples();
    if (!softmax && p_.reference) {
      for (int64_t q = 0; q < chunk.count; ++q) {
        const int64_t index = ((chunk.first + q) * p_.heads + chunk.head) * n;
        load_many<A>(p_.weights, p_.point_type, index, n, logits_ + q * row(p_));
      }
      softmax_rows<A>(logits_, chunk.count, n, row(p_), totals_);
    }
    for (int64_t q = 0; q < chunk.count; ++q) {
      const int64_t query = chunk.first + q, index = (query * p_.heads + chunk.head) * n;
      const int64_t soon = index + chunk.count * p_.heads * n;  // the next chunk's
      fetch(reinterpret_cast<intptr_t>(p_.points) + 2 * soon * sizeof(A), 2 * n * sizeof(A));
      fetch(reinterpret_cast<intptr_t>(softmax ? softmax : p_.weights) + soon * sizeof(A),
            n * sizeof(A));
      const A* pairs = as_row(p_.points, p_.point_type, 2 * index, 2 * n, pair_row_);
      spread(pairs, 2, q, pairs_);
      if (p_.reference) shift(query, q);
      if (softmax) {
        spread(softmax + index, 1, q, shares_);
      } else if (p_.reference) {
        spread(logits_ + q * row(p_), 1, q, shares_);
      } else {
        spread(static_cast<const A*>(p_.weights) + index, 1, q, shares_);
      }
    }
  }

  // Plans one level of the chunk, all but the rows.
  INLINE void place(int64_t index) {
    const Level& level = levels_[index];
    plan.pairs = pairs_ + 2 * index * plane(p_);
    plan.share = shares_ + index * plane(p_);
    const A x_scale = p_.reference ? A(1) : A(level.width);
    const A y_scale = p_.reference ? A(1) : A(level.height);
    for (int64_t j = 0; j < count_; j += kLanes<A>) {
      find_corners(level, x_scale, y_scale, A(-0.5), plan, j);
    }
  }

  INLINE void find(const Level& level, const Rows& rows) {
    for (int64_t j = 0; j < count_; j += kBlock) find_rows(level, plan, rows, j);
  }

  Plan<A> plan;

 private:
  // `count` values as A: where they are, or widened into `scratch`.
  INLINE const A* as_row(const void* data, Type type, int64_t index, int64_t count, A* scratch) {
    if (type != Type::bf16 && type != Type::f16) return static_cast<const A*>(data) + index;
    load_many<A>(data, type, index, count, scratch);
    return scratch;
  }

  // A row of query q, `each` values a sample, into the planes of the levels.
  INLINE void spread(const A* values, int64_t each, int64_t q, A* planes) {
    const int64_t width = each * p_.points_per_level, step = each * plane(p_);
    A* to = planes + q * width;
    for (int64_t level = 0; level < p_.levels; ++level) {
      copy_few(values + level * width, width, to + level * step);
    }
  }

  // Moves the pairs of query q by its reference point, in pixels.
  INLINE void shift(int64_t query, int64_t q) {
    const A* reference = static_cast<const A*>(p_.reference) + 2 * query * p_.levels;
    const int64_t width = 2 * p_.points_per_level;
    for (int64_t level = 0; level < p_.levels; ++level) {
      const A x = reference[2 * level] * A(levels_[level].width);
      const A y = reference[2 * level + 1] * A(levels_[level].height);
      A* pairs = pairs_ + 2 * level * plane(p_) + q * width;
      const Vec<A, 4> both = {x, y, x, y};
      int64_t i = 0;
      for (; i + 4 <= width; i += 4) store<4>(pairs + i, load<4>(pairs + i) + both);
      for (; i < width; i += 2) {
        pairs[i] += x;
        pairs[i + 1] += y;
      }
    }
  }

  const Problem& p_;
  int64_t count_ = 0;
  A *pairs_, *shares_;  // a plane each level
  A *pair_row_, *logits_, *totals_;
  Level* levels_;
};
