// Backward: a slice is one head of one picture (or a group of its levels). It alone writes its part
// of every gradient, in the order of the queries: no races, the same bits for any thread count.
// Included once per instruction set, after forward.h.

// Sums of four vectors at once: lane k of the result is the sum of v[k].
template <class A, int N>
INLINE Vec<A, 4> sum_each(const Vec<A, N> (&v)[4]) {
  if constexpr (N >= 4 && sizeof(A) == 4) {
    typedef Vec<A, N> V;
    const V ab =
        shuffle<lane_evens>(v[0], v[1], Lanes<N>()) + shuffle<lane_odds>(v[0], v[1], Lanes<N>());
    const V cd =
        shuffle<lane_evens>(v[2], v[3], Lanes<N>()) + shuffle<lane_odds>(v[2], v[3], Lanes<N>());
    return fold<A, N>(shuffle<lane_evens>(ab, cd, Lanes<N>()) +
                      shuffle<lane_odds>(ab, cd, Lanes<N>()));
  } else {
    return Vec<A, 4>{sum<A, N>(v[0]), sum<A, N>(v[1]), sum<A, N>(v[2]), sum<A, N>(v[3])};
  }
}

// Channels [channel, channel + N * R) of one query with samples [begin, end): adds its part to the
// gradients of the rows, and leaves in `dots` the products of every corner's row with the gradient
// of the output.
template <int N, int R, class T>
INLINE void scatter(const Plan<Acc<T>>& plan, int64_t begin, int64_t end, int64_t channel,
                    int64_t channels, const T* grad_out, Acc<T>* dots) {
  typedef Acc<T> A;
  const intptr_t* from = plan.from;
  const A* weights = plan.weight;
  Vec<A, N> grad[R];
  for (int r = 0; r < R; ++r) grad[r] = load<N>(grad_out + channel + r * N);
  for (int64_t j = begin; j < end; ++j) {
    const int64_t corner = corner_index(j, 0);
    Vec<A, N> products[4];
    for (int k = 0; k < 4; ++k) {
      A* row = reinterpret_cast<A*>(from[corner + k * kBlock]) + channel;
      A* to = row + channels;
      const A weight = weights[corner + k * kBlock];
      products[k] = grad[0] * load<N>(row);
      for (int r = 1; r < R; ++r) products[k] += grad[r] * load<N>(row + r * N);
      for (int r = 0; r < R; ++r) store<N>(to + r * N, load<N>(to + r * N) + weight * grad[r]);
    }
    const Vec<A, 4> sums = sum_each<A, N>(products);
    store<4>(dots + 4 * j, channel ? load<4>(dots + 4 * j) + sums : sums);
  }
}

template <class T>
INLINE void scatter_all(const Plan<Acc<T>>& plan, int64_t begin, int64_t end, int64_t channels,
                        const T* grad_out, Acc<T>* dots) {
  constexpr int N = kLanes<Acc<T>>;
  int64_t c = 0;
  for (; c + 8 * N <= channels; c += 8 * N) {
    scatter<N, 8, T>(plan, begin, end, c, channels, grad_out, dots);
  }
  for (; c + 4 * N <= channels; c += 4 * N) {
    scatter<N, 4, T>(plan, begin, end, c, channels, grad_out, dots);
  }
  for (; c + 2 * N <= channels; c += 2 * N) {
    scatter<N, 2, T>(plan, begin, end, c, channels, grad_out, dots);
  }
  for (; c + N <= channels; c += N) scatter<N, 1, T>(plan, begin, end, c, channels, grad_out, dots);
  if constexpr (N > 4) {
    for (; c + 4 <= channels; c += 4)
      scatter<4, 1, T>(plan, begin, end, c, channels, grad_out, dots);
  }
  for (; c < channels; ++c) scatter<1, 1, T>(plan, begin, end, c, channels, grad_out, dots);
}

// From the products of the corners to the gradients of the weight and of the pair x, y of one block
// of samples.
template <class A>
INLINE void differentiate(const Plan<A>& plan, const A* dots, int64_t j, A x_scale, A y_scale,
                          A* grad_pairs, A* grad_shares) {
  constexpr int N = kLanes<A>;
  typedef Vec<A, N> F;
  const Lanes<N> all;
  const F a = load<N>(dots + 4 * j), b = load<N>(dots + 4 * j + N);
  const F c = load<N>(dots + 4 * j + 2 * N), d = load<N>(dots + 4 * j + 3 * N);
  const F even_ab = shuffle<evens>(a, b, all), odd_ab = shuffle<odds>(a, b, all);
  const F even_cd = shuffle<evens>(c, d, all), odd_cd = shuffle<odds>(c, d, all);
  const F top_left = shuffle<evens>(even_ab, even_cd, all);
  const F top_right = shuffle<evens>(odd_ab, odd_cd, all);
  const F bottom_left = shuffle<odds>(even_ab, even_cd, all);
  const F bottom_right = shuffle<odds>(odd_ab, odd_cd, all);

  const F x = load<N>(plan.x + j), y = load<N>(plan.y + j), share = load<N>(plan.share + j);
  const F top = top_left + x * (top_right - top_left);
  const F bottom = bottom_left + x * (bottom_right - bottom_left);
  const F left = top_left + y * (bottom_left - top_left);
  const F right = top_right + y * (bottom_right - top_right);
  store<N>(grad_shares + j, top + y * (bottom - top));
  const F grad_x = share * (right - left) * x_scale, grad_y = share * (bottom - top) * y_scale;
  store<N>(grad_pairs + 2 * j, shuffle<zip_low>(grad_x, grad_y, all));
  store<N>(grad_pairs + 2 * j + N, shuffle<zip_high>(grad_x, grad_y, all));
}

// Works on slices: one head of one picture, and some of its levels.
template <class T>
class Backward {
  typedef Acc<T> A;

  static int64_t samples(const Problem& p) {
    return Plan<A>::padded(chunk_size(p) * p.points_per_level);
  }
  static size_t bytes(const Problem& p) {
    return Planner<A>::bytes(p) + samples(p) * 7 * sizeof(A) +
           2 * p.channels * (p.positions + 1) * sizeof(A) + 5 * 64;
  }

 public:
  Backward(const Problem& p, const Gradients& g)
      : p_(p),
        g_(g),
        scratch_(bytes(p)),
        planner_(p, scratch_),
        dots_(scratch_.template take<A>(4 * samples(p))),
        pairs_(scratch_.template take<A>(2 * samples(p))),
        shares_(scratch_.template take<A>(samples(p))),
        outside_(scratch_.template take<A>(2 * p.channels)),
        table_(scratch_.template take<A>(2 * p.positions * p.channels)) {
    memset(dots_, 0, 4 * samples(p) * sizeof(A));
    memset(outside_, 0, 2 * p.channels * sizeof(A));
  }

  void run(int64_t picture, int64_t head, int64_t first_level, int64_t last_level) {
    const int64_t start = position(first_level), stop = position(last_level);
    const int64_t first = picture * p_.queries, row = p_.heads * p_.channels;
    copy_head<T>(p_, picture, head, start, stop, table_, 2 * p_.channels);
    for (int64_t q = 0; q < p_.queries; q += chunk_size(p_)) {
      const Chunk chunk = {picture, first + q, least(p_.queries - q, chunk_size(p_)), head};
      for (int64_t i = q + chunk.count; i < least(q + 2 * chunk.count, p_.queries); ++i) {
        fetch(reinterpret_cast<intptr_t>(grad_out(first + i, head)), p_.channels * sizeof(T));
      }
      planner_.begin(chunk, p_.reference ? static_cast<const A*>(g_.softmax) : nullptr);
      for (int64_t level = first_level; level < last_level; ++level) one_level(chunk, level, start);
    }
    T* out = static_cast<T*>(g_.grad_value) + picture * p_.positions * row + head * p_.channels;
    for (int64_t i = start; i < stop; ++i) {
      stream_many<T>(table_ + (2 * (i - start) + 1) * p_.channels, p_.channels, out + i * row);
    }
    end_streams();
  }

 private:
  int64_t position(int64_t level) const {
    return level < p_.levels ? planner_.level(level).first : p_.positions;
  }

  const T* grad_out(int64_t query, int64_t head) const {
    return static_cast<const T*>(g_.grad_out) + (query * p_.heads + head) * p_.channels;
  }

  // The table begins with position `start`.
  INLINE void one_level(const Chunk& chunk, int64_t index, int64_t start) {
    const int64_t points = p_.points_per_level, count = chunk.count * points;
    const intptr_t stride = 2 * p_.channels * sizeof(A);
    const Level& level = planner_.level(index);
    planner_.place(index);
    planner_.find(level, {reinterpret_cast<intptr_t>(table_) - start * stride, stride,
                          reinterpret_cast<intptr_t>(outside_)});
    for (int64_t q = 0; q < chunk.count; ++q) {
      scatter_all<T>(planner_.plan, q * points, (q + 1) * points, p_.channels,
                     grad_out(chunk.first + q, chunk.head), dots_);
    }
    const A x_scale = p_.reference ? A(1) : A(level.width);
    const A y_scale = p_.reference ? A(1) : A(level.height);
    for (int64_t j = 0; j < count; j += kLanes<A>) {
      differentiate<A>(planner_.plan, dots_, j, x_scale, y_scale, pairs_, shares_);
    }
    for (int64_t q = 0; q < chunk.count; ++q) {
      const int64_t row = (chunk.first + q) * p_.heads + chunk.head;
      const int64_t at = (row * p_.levels + index) * points;
      copy_few(pairs_ + 2 * q * points, 2 * points, static_cast<A*>(g_.grad_points) + 2 * at);
      copy_few(shares_ + q * points, points, static_cast<A*>(g_.grad_weights) + at);
    }
  }

  const Problem& p_;
  const Gradients& g_;
  Scratch scratch_;
  Planner<A> planner_;
  A *dots_, *pairs_, *shares_;
  A* outside_;  // the row outside every level: zeros, and where its gradients go
  A* table_;    // rows of the head, each followed by its gradients
};

template <class T>
void backward_typed(const Problem& p, const Gradients& g, int64_t groups, int64_t begin,
                    int64_t end) {
  Backward<T> backward(p, g);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t group = unit % groups, head = unit / groups % p.heads;
    backward.run(unit / groups / p.heads, head, group * p.levels / groups,
                 (group + 1) * p.levels / groups);
  }
}
