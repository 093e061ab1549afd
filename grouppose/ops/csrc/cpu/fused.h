// The ends of the fused form's backward: the softmax before it, its derivative after it.
// Included once per instruction set, after backward.h.

template <class A>
void softmax_typed(const Problem& p, const Gradients& g, int64_t begin, int64_t end) {
  constexpr int64_t kRows = 64;
  const int64_t n = p.samples(), stride = (n + kLanes<A> - 1) / kLanes<A> * kLanes<A>;
  Scratch scratch((kRows * stride + kRows) * sizeof(A) + 2 * 64);
  A* rows = scratch.take<A>(kRows * stride);
  A* totals = scratch.take<A>(kRows);
  for (int64_t first = begin * p.heads; first < end * p.heads; first += kRows) {
    const int64_t count = least(end * p.heads - first, kRows);
    for (int64_t i = 0; i < count; ++i) {
      load_many<A>(p.weights, p.point_type, (first + i) * n, n, rows + i * stride);
    }
    softmax_rows<A>(rows, count, n, stride, totals);
    for (int64_t i = 0; i < count; ++i) {
      copy_few(rows + i * stride, n, static_cast<A*>(g.softmax) + (first + i) * n);
    }
  }
}

// Sums the gradients of all places of one query, which are in pixels, into those of its reference.
template <class A>
INLINE void sum_reference(const Problem& p, const A* grad_points, A* grad_reference) {
  for (int64_t level = 0; level < p.levels; ++level) {
    A x = 0, y = 0;
    for (int64_t head = 0; head < p.heads; ++head) {
      const A* pair = grad_points + 2 * (head * p.levels + level) * p.points_per_level;
      for (int64_t point = 0; point < p.points_per_level; ++point) {
        x += pair[2 * point];
        y += pair[2 * point + 1];
      }
    }
    grad_reference[2 * level] = x * A(p.shapes[2 * level + 1]);
    grad_reference[2 * level + 1] = y * A(p.shapes[2 * level]);
  }
}

template <class A, class P>
void finish_typed(const Problem& p, const Gradients& g, const FusedGradients& out, int64_t begin,
                  int64_t end) {
  const int64_t n = p.samples(), m = p.heads * n;
  for (int64_t query = begin; query < end; ++query) {
    for (int64_t row = query * p.heads; row < (query + 1) * p.heads; ++row) {
      const A* __restrict shares = static_cast<const A*>(g.softmax) + row * n;
      A* __restrict grads = static_cast<A*>(g.grad_weights) + row * n;
      A mean = 0;
      for (int64_t j = 0; j < n; ++j) mean += shares[j] * grads[j];
      for (int64_t j = 0; j < n; ++j) grads[j] = shares[j] * (grads[j] - mean);
    }
    const A* points = static_cast<const A*>(g.grad_points) + query * m * 2;
    if (out.reference) {
      sum_reference(p, points, static_cast<A*>(out.reference) + query * p.levels * 2);
    }
    if constexpr (!std::is_same_v<A, P>) {
      store_many<P>(points, 2 * m, static_cast<P*>(out.offsets) + query * m * 2);
      store_many<P>(static_cast<const A*>(g.grad_weights) + query * m, m,
                    static_cast<P*>(out.logits) + query * m);
    }
  }
}
