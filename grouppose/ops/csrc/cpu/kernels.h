// One build of the kernels. The file of an instruction set sets VECTOR_BYTES and the compiler's
// target and includes this inside namespace grouppose::<set>, so that no code is shared with
// builds that a lesser processor runs.

// clang-format off: each needs the one before
#include "vec.h"
#include "plan.h"
#include "forward.h"
#include "backward.h"
#include "fused.h"
// clang-format on

void forward(const Problem& p, int64_t begin, int64_t end) {
  switch (p.value_type) {
    case Type::f32: return forward_typed<float>(p, begin, end);
    case Type::f64: return forward_typed<double>(p, begin, end);
    case Type::bf16: return forward_typed<bf16>(p, begin, end);
    case Type::f16: return forward_typed<f16>(p, begin, end);
  }
}

void forward_heads(const Problem& p, int64_t parts, int64_t begin, int64_t end) {
  switch (p.value_type) {
    case Type::f32: return forward_heads_typed<float>(p, parts, begin, end);
    case Type::f64: return forward_heads_typed<double>(p, parts, begin, end);
    case Type::bf16: return forward_heads_typed<bf16>(p, parts, begin, end);
    case Type::f16: return forward_heads_typed<f16>(p, parts, begin, end);
  }
}

void backward(const Problem& p, const Gradients& g, int64_t groups, int64_t begin, int64_t end) {
  switch (p.value_type) {
    case Type::f32: return backward_typed<float>(p, g, groups, begin, end);
    case Type::f64: return backward_typed<double>(p, g, groups, begin, end);
    case Type::bf16: return backward_typed<bf16>(p, g, groups, begin, end);
    case Type::f16: return backward_typed<f16>(p, g, groups, begin, end);
  }
}

void softmax(const Problem& p, const Gradients& g, int64_t begin, int64_t end) {
  if (p.value_type == Type::f64) return softmax_typed<double>(p, g, begin, end);
  softmax_typed<float>(p, g, begin, end);
}

void finish(const Problem& p, const Gradients& g, const FusedGradients& out, int64_t begin,
            int64_t end) {
  switch (p.point_type) {
    case Type::f32: return finish_typed<float, float>(p, g, out, begin, end);
    case Type::f64: return finish_typed<double, double>(p, g, out, begin, end);
    case Type::bf16: return finish_typed<float, bf16>(p, g, out, begin, end);
    case Type::f16: return finish_typed<float, f16>(p, g, out, begin, end);
  }
}

extern const Kernels kernels = {forward, forward_heads, backward, softmax, finish};
