// Forward: a chunk of queries, head by head, each sample's four rows times their weights.
// Included once per instruction set, after plan.h.

constexpr int64_t kChunk = 16;  // queries whose samples of one head should share the first cache

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
    memcpy(to, static_cast<const A*>(data) + index, count * sizeof(A));
  }
}

// Plans one head of one query after another.
template <class A>
class Planner {
 public:
  static size_t bytes(const Problem& p) {
    return Table<A>::bytes(p) + Table<A>::padded(p) * 4 * sizeof(A) + 2 * 64;
  }

  Planner(const Problem& problem, Scratch& scratch)
      : p_(problem),
        table_(problem, scratch),
        pairs_(scratch.take<A>(2 * Table<A>::padded(problem))),
        shift_(scratch.take<A>(2 * Table<A>::padded(problem))) {
    memset(pairs_, 0, 2 * Table<A>::padded(problem) * sizeof(A));
  }

  // Fills x, y and share for head `head` of query `query` of B * Q, with weights from `shares`.
  INLINE void place(int64_t query, int64_t head, const void* shares, Type share_type,
                    Plan<A>& plan) {
    constexpr int N = kLanes<A>;
    typedef Vec<A, N> F;
    const int64_t n = table_.count, index = (query * p_.heads + head) * n;
    load_many<A>(shares, share_type, index, n, plan.share);
    const A* pairs = static_cast<const A*>(p_.points) + 2 * index;
    if (p_.point_type == Type::bf16 || p_.point_type == Type::f16 || n % N) {
      load_many<A>(p_.points, p_.point_type, 2 * index, 2 * n, pairs_);
      pairs = pairs_;
    }
    for (int64_t byte = 0; byte < int64_t(n * sizeof(A)); byte += 64) {  // the next head's
      __builtin_prefetch(reinterpret_cast<const char*>(pairs + 2 * n) + 2 * byte);
      __builtin_prefetch(reinterpret_cast<const char*>(pairs + 2 * n) + 2 * byte + 64);
      __builtin_prefetch(static_cast<const char*>(shares) + (index + n) * sizeof(A) + byte);
    }
    if (p_.reference) shift(query);
    for (int64_t j = 0; j < n; j += N) {
      const F low = load<N>(pairs + 2 * j), high = load<N>(pairs + 2 * j + N);
      F x = shuffle<evens>(low, high, Lanes<N>()), y = shuffle<odds>(low, high, Lanes<N>());
      if (p_.reference) {
        x += load<N>(shift_ + j);
        y += load<N>(shift_ + Table<A>::padded(p_) + j);
      } else {
        x = x * load<N>(table_.width + j) - A(0.5);
        y = y * load<N>(table_.height + j) - A(0.5);
      }
      store_raw(plan.x + j, x);
      store_raw(plan.y + j, y);
    }
  }

  // Then everything but the rows; then the rows. Whole blocks around [begin, end).
  INLINE void corners(Plan<A>& plan, int64_t begin, int64_t end) {
    for (int64_t j = begin / kLanes<A> * kLanes<A>; j < end; j += kLanes<A>) {
      find_corners(table_, plan, j);
    }
  }

  INLINE void rows(const Plan<A>& plan, const Rows& rows, intptr_t* corners, int64_t begin,
                   int64_t end) {
    for (int64_t j = begin / kBlock * kBlock; j < end; j += kBlock) {
      find_rows(table_, plan, rows, corners, j);
    }
  }

  const Table<A>& table() const { return table_; }

 private:
  // The reference point in pixels of each sample's level.
  INLINE void shift(int64_t query) {
    if (query == shifted_) return;
    shifted_ = query;
    const A* reference = static_cast<const A*>(p_.reference) + query * p_.levels * 2;
    for (int64_t level = 0, j = 0; level < p_.levels; ++level) {
      const A x = reference[2 * level] * table_.width[j] - A(0.5);
      const A y = reference[2 * level + 1] * table_.height[j] - A(0.5);
      for (int64_t point = 0; point < p_.points_per_level; ++point, ++j) {
        shift_[j] = x;
        shift_[Table<A>::padded(p_) + j] = y;
      }
    }
  }

  const Problem& p_;
  Table<A> table_;
  A *pairs_, *shift_;  // coordinates of this head of this query; the reference point in pixels
  int64_t shifted_ = -1;
};

// R vectors of N channels, from channel `channel` of every row.
template <int N, int R, class T>
INLINE void gather(const Plan<Acc<T>>& plan, const Plan<Acc<T>>& next, int64_t samples,
                   int64_t channel, T* out) {
  typedef Vec<Acc<T>, N> V;
  constexpr int kChains = R >= 8 ? 1 : (R >= 4 ? 2 : 4);  // independent sums hide the latency
  V total[kChains][R] = {};
  for (int64_t first = 0; first < samples; first += kBlock) {
    const intptr_t* from = plan.from + corner_index(first, 0);
    const intptr_t* upcoming = next.from + corner_index(first, 0);
    const Acc<T>* weights = plan.weight + corner_index(first, 0);
    const int64_t count = samples - first < kBlock ? samples - first : kBlock;
    for (int64_t i = 0; i < count; ++i) {
      for (int k = 0; k < 4; ++k) {
        const T* row = reinterpret_cast<const T*>(from[k * kBlock + i]) + channel;
        const Acc<T> weight = weights[k * kBlock + i];
        const T* soon = reinterpret_cast<const T*>(upcoming[k * kBlock + i]) + channel;
        for (size_t line = 0; line < N * R * sizeof(T); line += 64) {
          __builtin_prefetch(reinterpret_cast<const char*>(soon) + line);
        }
        for (int r = 0; r < R; ++r) total[k % kChains][r] += weight * load<N>(row + r * N);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    V whole = total[0][r];
    for (int c = 1; c < kChains; ++c) whole += total[c][r];
    store<N>(out + channel + r * N, whole);
  }
}

template <class T>
INLINE void gather_all(const Plan<Acc<T>>& plan, const Plan<Acc<T>>& next, int64_t samples,
                       int64_t channels, T* out) {
  constexpr int N = kLanes<Acc<T>>;
  int64_t c = 0;
  for (; c + 8 * N <= channels; c += 8 * N) gather<N, 8, T>(plan, next, samples, c, out);
  for (; c + 4 * N <= channels; c += 4 * N) gather<N, 4, T>(plan, next, samples, c, out);
  for (; c + 2 * N <= channels; c += 2 * N) gather<N, 2, T>(plan, next, samples, c, out);
  for (; c + N <= channels; c += N) gather<N, 1, T>(plan, next, samples, c, out);
  if constexpr (N > 4) {
    for (; c + 4 <= channels; c += 4) gather<4, 1, T>(plan, next, samples, c, out);
  }
  for (; c < channels; ++c) gather<1, 1, T>(plan, next, samples, c, out);
}

template <class T>
void forward_typed(const Problem& p, int64_t begin, int64_t end) {
  typedef Acc<T> A;
  const int64_t n = p.samples(), row = p.heads * p.channels;
  Scratch scratch(Planner<A>::bytes(p) + 2 * Plan<A>::bytes(p) + p.channels * sizeof(T) + 64);
  Planner<A> planner(p, scratch);
  Plan<A> plans[2] = {Plan<A>(p, scratch), Plan<A>(p, scratch)};
  T* zeros = scratch.take<T>(p.channels);
  memset(zeros, 0, p.channels * sizeof(T));

  auto place = [&](int64_t query, int64_t head, Plan<A>& plan) {
    const T* value = static_cast<const T*>(p.value) + query / p.queries * p.positions * row;
    planner.place(query, head, p.weights, p.point_type, plan);
    if (p.reference) softmax<A, kLanes<A>>(plan.share, n);
    planner.corners(plan, 0, n);
    planner.rows(plan,
                 {reinterpret_cast<intptr_t>(value + head * p.channels), intptr_t(row * sizeof(T)),
                  reinterpret_cast<intptr_t>(zeros)},
                 plan.from, 0, n);
  };
  for (int64_t chunk = begin; chunk < end; chunk += kChunk) {
    const int64_t stop = chunk + kChunk < end ? chunk + kChunk : end;
    for (int64_t head = 0; head < p.heads; ++head) {
      place(chunk, head, plans[0]);
      for (int64_t query = chunk, turn = 0; query < stop; ++query, turn ^= 1) {
        if (query + 1 < stop) {
          place(query + 1, head, plans[turn ^ 1]);
        }
        T* out = static_cast<T*>(p.out) + query * row + head * p.channels;
        gather_all<T>(plans[turn], plans[turn ^ 1], n, p.channels, out);
      }
    }
  }
}
