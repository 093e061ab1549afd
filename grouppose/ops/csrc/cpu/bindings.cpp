// The CPU kernels as PyTorch operators, on the stable ABI.
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>

#include "../arguments.h"
#include "msda.h"

namespace grouppose {
namespace {

// The numbers of grouppose/ops/backends.py; 0 asks for the best.
enum Variant : int64_t { kBest, kPlain, kAvx2, kAvx512 };

bool runs(int64_t variant) {
  if (variant == kPlain) return true;
#if defined(__x86_64__)
  if (variant == kAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (variant == kAvx512) {
    return runs(kAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
#endif
  return false;
}

const Kernels& kernels(int64_t variant) {
  static const int64_t best = runs(kAvx512) ? kAvx512 : (runs(kAvx2) ? kAvx2 : kPlain);
  if (variant == kBest) variant = best;
  STD_TORCH_CHECK(runs(variant), "grouppose: this processor does not run CPU variant ", variant);
#if defined(__x86_64__)
  if (variant == kAvx512) return avx512::kernels;
  if (variant == kAvx2) return avx2::kernels;
#endif
  return plain::kernels;
}

Type type_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Double: return Type::f64;
    case ScalarType::BFloat16: return Type::bf16;
    case ScalarType::Half: return Type::f16;
    default: return Type::f32;
  }
}

Problem describe(const Inputs& in) {
  Problem p{};
  p.batch = in.batch;
  p.positions = in.positions;
  p.heads = in.heads;
  p.channels = in.channels;
  p.queries = in.queries;
  p.levels = in.levels;
  p.points_per_level = in.samples;
  p.shapes = in.shapes.data();
  p.value_type = type_of(in.value);
  p.point_type = type_of(in.points);
  p.value = in.value.const_data_ptr();
  p.points = in.points.const_data_ptr();
  p.weights = in.weights.const_data_ptr();
  p.reference = in.fused ? in.reference.const_data_ptr() : nullptr;
  return p;
}

// A tensor to be filled, in huge pages where it is large. The C library returns large blocks to the
// system, so that every call would have them mapped anew, page by page as they are first written.
Tensor empty(const Tensor& x, std::vector<int64_t> sizes, ScalarType type) {
  Tensor out = empty_like(x, std::move(sizes), type);
#if defined(__linux__)
  constexpr uintptr_t kHuge = uintptr_t(1) << 21;
  const uintptr_t start = reinterpret_cast<uintptr_t>(out.mutable_data_ptr());
  const uintptr_t stop = (start + out.numel() * out.element_size()) & -kHuge;
  const uintptr_t first = (start + kHuge - 1) & -kHuge;
  if (first + 4 * kHuge <= stop) {
    madvise(reinterpret_cast<void*>(first), stop - first, MADV_HUGEPAGE);  // a hint: may be refused
  }
#endif
  return out;
}

// Samples a position from which on each head of the value is copied first. The encoder has 16 at
// four levels of four points, the decoder under 2.
constexpr int64_t kReads = 4;

// Runs f over [0, count) on PyTorch's threads.
template <class F>
void parallel(int64_t count, int64_t grain, const F& f) {
  if (count > 0) torch::stable::parallel_for(0, count, grain, f);
}

Tensor forward(const Inputs& in, int64_t variant) {
  const Kernels& run = kernels(variant);
  Tensor out = empty(in.value, in.out_sizes(), in.value.scalar_type());
  Problem p = describe(in);
  p.out = out.mutable_data_ptr();
  if (in.queries * in.levels * in.samples >= kReads * in.positions) {
    const int64_t slices = std::max<int64_t>(in.batch * in.heads, 1);
    const int64_t threads = torch::stable::get_num_threads();
    const int64_t parts = (2 * threads + slices - 1) / slices;
    parallel(in.batch * in.heads * parts, 1,
             [&](int64_t begin, int64_t end) { run.forward_heads(p, parts, begin, end); });
  } else {
    parallel(in.batch * in.queries, 32,
             [&](int64_t begin, int64_t end) { run.forward(p, begin, end); });
  }
  return out;
}

struct Grads {
  Tensor value, points, weights;
};

// Gradients of value, points and weights, the last two in the accumulator's type; the weights' with
// respect to the softmax where there is one, whose result goes to `shares`.
Grads backward(const Inputs& in, const Problem& p, Gradients& g, const Kernels& run) {
  const ScalarType precise = in.precise();
  Grads out{empty(in.value, in.value_sizes(), in.value.scalar_type()),
            empty(in.value, in.point_sizes(), precise),
            empty(in.value, in.weight_sizes(), precise)};
  g.grad_value = out.value.mutable_data_ptr();
  g.grad_points = out.points.mutable_data_ptr();
  g.grad_weights = out.weights.mutable_data_ptr();
  if (in.fused) {
    parallel(in.batch * in.queries, 64,
             [&](int64_t begin, int64_t end) { run.softmax(p, g, begin, end); });
  }
  const int64_t slices = in.batch * in.heads, threads = torch::stable::get_num_threads();
  const int64_t groups = slices >= 2 * threads ? 1 : std::max<int64_t>(in.levels, 1);
  parallel(slices * groups, 1,
           [&](int64_t begin, int64_t end) { run.backward(p, g, groups, begin, end); });
  return out;
}

Tensor msda(const Tensor& value, Shapes shapes, const Tensor& locations, const Tensor& weights,
            int64_t variant) {
  return forward(Inputs(value, std::move(shapes), locations, weights), variant);
}

Tensor msda_fused(const Tensor& value, Shapes shapes, const Tensor& reference,
                  const Tensor& offsets, const Tensor& logits, int64_t variant) {
  return forward(Inputs(value, std::move(shapes), offsets, logits, reference), variant);
}

std::tuple<Tensor, Tensor, Tensor> msda_backward(const Tensor& grad, const Tensor& value,
                                                 Shapes shapes, const Tensor& locations,
                                                 const Tensor& weights, int64_t variant) {
  const Inputs in(value, std::move(shapes), locations, weights);
  check_sizes("grad", grad, in.out_sizes());
  const Tensor grad_out = torch::stable::contiguous(grad);
  Gradients g{};
  g.grad_out = grad_out.const_data_ptr();
  const Grads out = backward(in, describe(in), g, kernels(variant));
  return {out.value, out.points, out.weights};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> msda_fused_backward(
    const Tensor& grad, const Tensor& value, Shapes shapes, const Tensor& reference,
    const Tensor& offsets, const Tensor& logits, bool with_reference, int64_t variant) {
  const Inputs in(value, std::move(shapes), offsets, logits, reference);
  check_sizes("grad", grad, in.out_sizes());
  const Kernels& run = kernels(variant);
  const Problem p = describe(in);
  const ScalarType type = in.points.scalar_type(), precise = in.precise();
  const Tensor grad_out = torch::stable::contiguous(grad);
  const Tensor shares = empty(value, in.weight_sizes(), precise);
  Gradients g{};
  g.grad_out = grad_out.const_data_ptr();
  g.softmax = shares.mutable_data_ptr();
  const Grads out = backward(in, p, g, run);

  const std::vector<int64_t> none = {0};
  Tensor grad_reference = empty(value, with_reference ? in.reference_sizes() : none, precise);
  Tensor grad_offsets = out.points, grad_logits = out.weights;
  if (type != precise) {
    grad_offsets = empty(value, in.point_sizes(), type);
    grad_logits = empty(value, in.weight_sizes(), type);
  }
  FusedGradients f{};
  f.reference = with_reference ? grad_reference.mutable_data_ptr() : nullptr;
  f.offsets = grad_offsets.mutable_data_ptr();
  f.logits = grad_logits.mutable_data_ptr();
  parallel(in.batch * in.queries, 64,
           [&](int64_t begin, int64_t end) { run.finish(p, g, f, begin, end); });
  return {out.value, grad_reference, grad_offsets, grad_logits};
}

STABLE_TORCH_LIBRARY_IMPL(grouppose, CPU, m) {
  m.impl("msda", TORCH_BOX(&msda));
  m.impl("msda_backward", TORCH_BOX(&msda_backward));
  m.impl("msda_fused", TORCH_BOX(&msda_fused));
  m.impl("msda_fused_backward", TORCH_BOX(&msda_fused_backward));
}

}  // namespace
}  // namespace grouppose

// Bit i: this processor runs variant i.
extern "C" __attribute__((visibility("default"))) int grouppose_cpu_variants() {
  int bits = 0;
  for (int variant = grouppose::kPlain; variant <= grouppose::kAvx512; ++variant) {
    bits |= grouppose::runs(variant) << variant;
  }
  return bits;
}
