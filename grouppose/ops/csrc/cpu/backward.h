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

// Channels [channel, channel + N * R) of one query: adds its part to the gradients of the rows, and
// leaves in `dots` the products of every corner's row with the gradient of the output.
template <int N, int R, class T>
INLINE void scatter(const Plan<Acc<T>>& plan, int64_t begin, int64_t end, int64_t channel,
                    const T* grad_out, Acc<T>* dots) {
  typedef Acc<T> A;
  Vec<A, N> grad[R];
  for (int r = 0; r < R; ++r) grad[r] = load<N>(grad_out + channel + r * N);
  for (int64_t j = begin; j < end; ++j) {
    Vec<A, N> products[4];
    for (int k = 0; k < 4; ++k) {
      const int64_t c = corner_index(j, k);
      const T* row = reinterpret_cast<const T*>(plan.from[c]) + channel;
      A* to = reinterpret_cast<A*>(plan.to[c]) + channel;
      const A weight = plan.weight[c];
      products[k] = grad[0] * load<N>(row);
      for (int r = 1; r < R; ++r) products[k] += grad[r] * load<N>(row + r * N);
      for (int r = 0; r < R; ++r) {
        store<N>(to + r * N, load<N>(to + r * N) + weight * grad[r]);
      }
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
    scatter<N, 8, T>(plan, begin, end, c, grad_out, dots);
  }
  for (; c + 4 * N <= channels; c += 4 * N) {
    scatter<N, 4, T>(plan, begin, end, c, grad_out, dots);
  }
  for (; c + 2 * N <= channels; c += 2 * N) {
    scatter<N, 2, T>(plan, begin, end, c, grad_out, dots);
  }
  for (; c + N <= channels; c += N) scatter<N, 1, T>(plan, begin, end, c, grad_out, dots);
  if constexpr (N > 4) {
    for (; c + 4 <= channels; c += 4) scatter<4, 1, T>(plan, begin, end, c, grad_out, dots);
  }
  for (; c < channels; ++c) scatter<1, 1, T>(plan, begin, end, c, grad_out, dots);
}

// From the products of the corners to the gradients of the weight and of the pair x, y of one block
// of samples.
template <class A>
INLINE void differentiate(const Plan<A>& plan, const A* dots, int64_t j, const A* x_scale,
                          const A* y_scale, A* grad_pairs, A* grad_shares) {
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
  store_raw(grad_shares + j, top + y * (bottom - top));
  const F grad_x = share * (right - left) * load<N>(x_scale + j);
  const F grad_y = share * (bottom - top) * load<N>(y_scale + j);
  store_raw(grad_pairs + 2 * j, shuffle<zip_low>(grad_x, grad_y, all));
  store_raw(grad_pairs + 2 * j + N, shuffle<zip_high>(grad_x, grad_y, all));
}

// One slice: head `head` of picture `picture`, levels [first_level, last_level).
template <class T>
class Slice {
  typedef Acc<T> A;

 public:
  Slice(const Problem& p, const Gradients& g)
      : p_(p),
        g_(g),
        scratch_(Planner<A>::bytes(p) + Plan<A>::bytes(p) + Table<A>::padded(p) * 9 * sizeof(A) +
                 p.channels * (sizeof(T) + sizeof(A)) + 7 * 64),
        planner_(p, scratch_),
        plan_(p, scratch_),
        dots_(scratch_.template take<A>(4 * Table<A>::padded(p))),
        pairs_(scratch_.template take<A>(2 * Table<A>::padded(p))),
        shares_(scratch_.template take<A>(Table<A>::padded(p))),
        ones_(scratch_.template take<A>(Table<A>::padded(p))),
        zeros_(scratch_.template take<T>(p.channels)),
        waste_(scratch_.template take<A>(p.channels)) {
    for (int64_t j = 0; j < Table<A>::padded(p); ++j) ones_[j] = 1;
    memset(zeros_, 0, p.channels * sizeof(T));
    memset(waste_, 0, p.channels * sizeof(A));
  }

  void run(int64_t picture, int64_t head, int64_t first_level, int64_t last_level) {
    int64_t start = 0, stop = 0;
    for (int64_t level = 0; level < last_level; ++level) {
      const int64_t positions = p_.shapes[2 * level] * p_.shapes[2 * level + 1];
      if (level < first_level) start += positions;
      stop += positions;
    }
    Scratch slab((stop - start) * p_.channels * sizeof(A) + 64);
    A* sums = slab.take<A>((stop - start) * p_.channels);
    memset(sums, 0, (stop - start) * p_.channels * sizeof(A));
    const int64_t row = p_.heads * p_.channels;
    const int64_t first = picture * p_.positions * row + head * p_.channels;
    const Rows from = {reinterpret_cast<intptr_t>(static_cast<const T*>(p_.value) + first),
                       intptr_t(row * sizeof(T)), reinterpret_cast<intptr_t>(zeros_)};
    const Rows to = {reinterpret_cast<intptr_t>(sums - start * p_.channels),
                     intptr_t(p_.channels * sizeof(A)), reinterpret_cast<intptr_t>(waste_)};
    const int64_t begin = first_level * p_.points_per_level;
    const int64_t end = last_level * p_.points_per_level;
    for (int64_t query = picture * p_.queries; query < (picture + 1) * p_.queries; ++query) {
      one_query(query, head, begin, end, from, to);
    }
    for (int64_t position = start; position < stop; ++position) {
      T* out = static_cast<T*>(g_.grad_value) + first + position * row;
      store_many<T>(sums + (position - start) * p_.channels, p_.channels, out);
    }
  }

 private:
  INLINE void one_query(int64_t query, int64_t head, int64_t begin, int64_t end, const Rows& from,
                        const Rows& to) {
    const int64_t index = (query * p_.heads + head) * planner_.table().count;
    const Type precise = sizeof(A) == sizeof(double) ? Type::f64 : Type::f32;
    planner_.place(query, head, p_.reference ? g_.softmax : p_.weights, precise, plan_);
    planner_.corners(plan_, begin, end);
    planner_.rows(plan_, from, plan_.from, begin, end);
    planner_.rows(plan_, to, plan_.to, begin, end);
    const T* grad_out =
        static_cast<const T*>(g_.grad_out) + (query * p_.heads + head) * p_.channels;
    scatter_all<T>(plan_, begin, end, p_.channels, grad_out, dots_);
    const A* x_scale = p_.reference ? ones_ : planner_.table().width;
    const A* y_scale = p_.reference ? ones_ : planner_.table().height;
    for (int64_t j = begin / kLanes<A> * kLanes<A>; j < end; j += kLanes<A>) {
      differentiate(plan_, dots_, j, x_scale, y_scale, pairs_, shares_);
    }
    memcpy(static_cast<A*>(g_.grad_points) + 2 * (index + begin), pairs_ + 2 * begin,
           2 * (end - begin) * sizeof(A));
    memcpy(static_cast<A*>(g_.grad_weights) + index + begin, shares_ + begin,
           (end - begin) * sizeof(A));
  }

  const Problem& p_;
  const Gradients& g_;
  Scratch scratch_;
  Planner<A> planner_;
  Plan<A> plan_;
  A *dots_, *pairs_, *shares_, *ones_;
  T* zeros_;  // the row outside every level, and where its gradients go
  A* waste_;
};

template <class T>
void backward_typed(const Problem& p, const Gradients& g, int64_t groups, int64_t begin,
                    int64_t end) {
  Slice<T> slice(p, g);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t group = unit % groups, head = unit / groups % p.heads;
    slice.run(unit / groups / p.heads, head, group * p.levels / groups,
              (group + 1) * p.levels / groups);
  }
}
