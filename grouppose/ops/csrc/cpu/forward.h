// Forward: a chunk of queries, head by head and level by level; four rows a sample, times weights.
// Included once per instruction set, after plan.h.

// Adds the samples [begin, end) of a plan to R vectors of N channels.
template <int N, int R, class T>
INLINE void gather(const Plan<Acc<T>>& plan, int64_t begin, int64_t end, int64_t channel,
                   Acc<T>* sums) {
  typedef Vec<Acc<T>, N> V;
  constexpr int kChains = R >= 8 ? 1 : 2;  // independent sums hide the latency
  V total[kChains][R] = {};
  for (int r = 0; r < R; ++r) total[0][r] = load<N>(sums + channel + r * N);
  for (int64_t j = begin; j < end; ++j) {
    const intptr_t* from = plan.from + corner_index(j, 0);
    const Acc<T>* weights = plan.weight + corner_index(j, 0);
    for (int k = 0; k < 4; ++k) {
      const T* row = reinterpret_cast<const T*>(from[k * kBlock]) + channel;
      const Acc<T> weight = weights[k * kBlock];
      for (int r = 0; r < R; ++r) total[k % kChains][r] += weight * load<N>(row + r * N);
    }
  }
  for (int r = 0; r < R; ++r) {
    V whole = total[0][r];
    for (int c = 1; c < kChains; ++c) whole += total[c][r];
    store<N>(sums + channel + r * N, whole);
  }
}

template <class T>
INLINE void gather_all(const Plan<Acc<T>>& plan, int64_t begin, int64_t end, int64_t channels,
                       Acc<T>* sums) {
  constexpr int N = kLanes<Acc<T>>;
  int64_t c = 0;
  for (; c + 8 * N <= channels; c += 8 * N) gather<N, 8, T>(plan, begin, end, c, sums);
  for (; c + 4 * N <= channels; c += 4 * N) gather<N, 4, T>(plan, begin, end, c, sums);
  for (; c + 2 * N <= channels; c += 2 * N) gather<N, 2, T>(plan, begin, end, c, sums);
  for (; c + N <= channels; c += N) gather<N, 1, T>(plan, begin, end, c, sums);
  if constexpr (N > 4) {
    for (; c + 4 <= channels; c += 4) gather<4, 1, T>(plan, begin, end, c, sums);
  }
  for (; c < channels; ++c) gather<1, 1, T>(plan, begin, end, c, sums);
}

// `count` values from `from` on, as the accumulator's type.
template <class T>
INLINE void widen_many(const T* from, int64_t count, Acc<T>* to) {
  constexpr int N = kLanes<Acc<T>>;
  int64_t i = 0;
  for (; i + N <= count; i += N) store<N>(to + i, load<N>(from + i));
  for (; i < count; ++i) to[i] = load<1>(from + i);
}

// Positions [begin, end) of one head of one picture as a table of their own. In the value, they lie
// H * D elements apart, often a power of two, and of such a cache holds few. `stride`: elements
// from one row of the table to the next; those between are zeroed.
template <class T>
INLINE void copy_head(const Problem& p, int64_t picture, int64_t head, int64_t begin, int64_t end,
                      Acc<T>* to, int64_t stride) {
  constexpr int64_t kAhead = 16;
  const int64_t row = p.heads * p.channels;
  const T* from = static_cast<const T*>(p.value) + picture * p.positions * row + head * p.channels;
  for (int64_t i = begin; i < end; ++i) {
    fetch(reinterpret_cast<intptr_t>(from + (i + kAhead) * row), p.channels * sizeof(T));
    widen_many<T>(from + i * row, p.channels, to);
    for (int64_t c = p.channels; c < stride; ++c) to[c] = 0;
    to += stride;
  }
}

// Runs one head of a range of queries, chunk by chunk. V is the type of the rows it reads.
template <class T, class V>
class Forward {
  typedef Acc<T> A;

 public:
  static size_t bytes(const Problem& p) {
    return Planner<A>::bytes(p) + chunk_size(p) * p.channels * sizeof(A) + p.channels * sizeof(V) +
           2 * 64;
  }

  Forward(const Problem& p, Scratch& scratch)
      : p_(p),
        planner_(p, scratch),
        sums_(scratch.take<A>(chunk_size(p) * p.channels)),
        zeros_(scratch.take<V>(p.channels)) {
    memset(zeros_, 0, p.channels * sizeof(V));
  }

  // `value`: row 0 of the head; `stride`: elements from one row to the next.
  void run(const Chunk& chunk, const V* value, int64_t stride) {
    const Rows rows = {reinterpret_cast<intptr_t>(value), intptr_t(stride * sizeof(V)),
                       reinterpret_cast<intptr_t>(zeros_)};
    const int64_t points = p_.points_per_level, row = p_.heads * p_.channels;
    planner_.begin(chunk, nullptr);
    memset(sums_, 0, chunk.count * p_.channels * sizeof(A));
    for (int64_t level = 0; level < p_.levels; ++level) {
      planner_.place(level);
      planner_.find(planner_.level(level), rows);
      for (int64_t q = 0; q < chunk.count; ++q) {
        gather_all<V>(planner_.plan, q * points, (q + 1) * points, p_.channels,
                      sums_ + q * p_.channels);
      }
    }
    T* out = static_cast<T*>(p_.out) + chunk.first * row + chunk.head * p_.channels;
    for (int64_t q = 0; q < chunk.count; ++q) {
      store_many<T>(sums_ + q * p_.channels, p_.channels, out + q * row);
    }
  }

 private:
  const Problem& p_;
  Planner<A> planner_;
  A* sums_;
  V* zeros_;  // the row outside every level
};

template <class T>
void forward_typed(const Problem& p, int64_t begin, int64_t end) {
  const int64_t row = p.heads * p.channels;
  Scratch scratch(Forward<T, T>::bytes(p));
  Forward<T, T> forward(p, scratch);
  for (int64_t first = begin, count; first < end; first += count) {
    const int64_t picture = first / p.queries, stop = (picture + 1) * p.queries;
    count = least(least(stop, end) - first, chunk_size(p));
    const T* value = static_cast<const T*>(p.value) + picture * p.positions * row;
    for (int64_t head = 0; head < p.heads; ++head) {
      forward.run({picture, first, count, head}, value + head * p.channels, row);
    }
  }
}

template <class T>
void forward_heads_typed(const Problem& p, int64_t parts, int64_t begin, int64_t end) {
  typedef Acc<T> A;
  Scratch scratch(Forward<T, A>::bytes(p) + p.positions * p.channels * sizeof(A) + 64);
  Forward<T, A> forward(p, scratch);
  A* table = scratch.take<A>(p.positions * p.channels);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t part = unit % parts, head = unit / parts % p.heads;
    const int64_t picture = unit / parts / p.heads, start = picture * p.queries;
    const int64_t stop = start + (part + 1) * p.queries / parts;
    if (part == 0 || unit == begin)
      copy_head<T>(p, picture, head, 0, p.positions, table, p.channels);
    for (int64_t first = start + part * p.queries / parts; first < stop;) {
      const int64_t count = least(stop - first, chunk_size(p));
      forward.run({picture, first, count, head}, table, p.channels);
      first += count;
    }
  }
}
