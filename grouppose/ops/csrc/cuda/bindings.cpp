// The CUDA kernels as PyTorch operators, on the stable ABI.
#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include "../arguments.h"
#include "msda.h"

namespace grouppose {
namespace {

Type type_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Double: return Type::f64;
    case ScalarType::BFloat16: return Type::bf16;
    case ScalarType::Half: return Type::f16;
    default: return Type::f32;
  }
}

// The device of a tensor as the current one, and the stream in use there.
struct OnDevice {
  torch::stable::accelerator::DeviceGuard guard;
  cudaStream_t stream = nullptr;

  explicit OnDevice(const Tensor& x) : guard(x.get_device_index()) {
    void* current = nullptr;
    STABLE_TORCH_ERROR_CODE_CHECK(
        aoti_torch_get_current_cuda_stream(x.get_device_index(), &current));
    stream = static_cast<cudaStream_t>(current);
  }
};

// 128-bit loads need addresses that are multiples of 16.
Tensor aligned(const Tensor& x) {
  const auto address = reinterpret_cast<uintptr_t>(x.const_data_ptr());
  return address % 16 ? torch::stable::clone(x) : x;
}

void align(Inputs& in) {
  in.value = aligned(in.value);
  in.points = aligned(in.points);
  in.weights = aligned(in.weights);
  in.reference = aligned(in.reference);
}

Problem describe(const Inputs& in) {
  constexpr int64_t kLimit = int64_t(1) << 31;
  STD_TORCH_CHECK(in.levels <= kMaxLevels, "grouppose: ", in.levels,
                  " levels; the CUDA kernels take ", kMaxLevels);
  STD_TORCH_CHECK(in.levels * in.samples <= kMaxSamples, "grouppose: ", in.levels, " levels of ",
                  in.samples, " points; the CUDA kernels take ", kMaxSamples, " in all");
  STD_TORCH_CHECK(in.positions < kLimit / 16 && in.positions * in.heads * in.channels < kLimit &&
                      in.batch * in.queries * in.heads < kLimit / 64,
                  "grouppose: value is ", text(in.value), ", points are ", text(in.points),
                  "; too large for the CUDA kernels' 32-bit places, split the batch");
  Problem p{};
  p.batch = int(in.batch);
  p.positions = int(in.positions);
  p.heads = int(in.heads);
  p.channels = int(in.channels);
  p.queries = int(in.queries);
  p.levels = int(in.levels);
  p.points_per_level = int(in.samples);
  int first = 0;
  for (int level = 0; level < p.levels; ++level) {
    p.height[level] = int(in.shapes[2 * level]);
    p.width[level] = int(in.shapes[2 * level + 1]);
    p.first[level] = first;
    first += p.height[level] * p.width[level];
  }
  p.value_type = type_of(in.value);
  p.point_type = type_of(in.points);
  p.value = in.value.const_data_ptr();
  p.points = in.points.const_data_ptr();
  p.weights = in.weights.const_data_ptr();
  p.reference = in.fused ? in.reference.const_data_ptr() : nullptr;
  return p;
}

Tensor forward(Inputs in) {
  align(in);
  const OnDevice device(in.value);
  Tensor out = empty_like(in.value, in.out_sizes(), in.value.scalar_type());
  if (out.numel() == 0) return out;
  Problem p = describe(in);
  p.out = out.mutable_data_ptr();
  launch_forward(p, device.stream);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

struct Grads {
  Tensor value, points, weights, reference;
};

Grads backward(Inputs in, const Tensor& grad, bool with_reference, bool deterministic) {
  check_sizes("grad", grad, in.out_sizes());
  align(in);
  const OnDevice device(in.value);
  const Tensor grad_out = aligned(torch::stable::contiguous(grad));
  const ScalarType type = in.value.scalar_type(), point_type = in.points.scalar_type();
  const ScalarType sum_type = deterministic ? ScalarType::Long : in.precise();
  const std::vector<int64_t> none = {0};
  Grads out{torch::stable::new_zeros(in.value, in.value_sizes(), sum_type),
            empty_like(in.value, in.point_sizes(), point_type),
            empty_like(in.value, in.weight_sizes(), point_type),
            empty_like(in.value, with_reference ? in.reference_sizes() : none, in.precise())};
  if (grad_out.numel() > 0 && out.weights.numel() > 0) {
    const Problem p = describe(in);
    const std::vector<int64_t> slots = {deterministic ? 2 : 0};
    const Tensor bounds = torch::stable::new_zeros(in.value, slots, ScalarType::Float);
    Gradients g{};
    g.grad_out = grad_out.const_data_ptr();
    g.sums = out.value.mutable_data_ptr();
    g.grad_points = out.points.mutable_data_ptr();
    g.grad_weights = out.weights.mutable_data_ptr();
    if (deterministic) {
      float* bound = static_cast<float*>(bounds.mutable_data_ptr());
      launch_bound(g.grad_out, p.value_type, grad_out.numel(), bound, 0, device.stream);
      if (!in.fused) {
        launch_bound(p.weights, p.point_type, in.weights.numel(), bound, 1, device.stream);
      }
      g.bounds = bound;
    }
    launch_backward(p, g, device.stream);
    if (with_reference) {
      launch_sum_reference(p, g.grad_points, out.reference.mutable_data_ptr(), device.stream);
    }
    if (deterministic) {
      Tensor value = empty_like(in.value, in.value_sizes(), type);
      launch_from_integers(p, g, value.mutable_data_ptr(), device.stream);
      out.value = value;  // not before: this frees the sums
    }
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  } else if (with_reference) {
    torch::stable::zero_(out.reference);
  }
  if (out.value.scalar_type() != type) out.value = torch::stable::to(out.value, type);
  return out;
}

Tensor msda(const Tensor& value, Shapes shapes, const Tensor& locations, const Tensor& weights,
            int64_t) {
  return forward(Inputs(value, std::move(shapes), locations, weights));
}

Tensor msda_fused(const Tensor& value, Shapes shapes, const Tensor& reference,
                  const Tensor& offsets, const Tensor& logits, int64_t) {
  return forward(Inputs(value, std::move(shapes), offsets, logits, reference));
}

// `variant` 1 asks for the same bits every time.
std::tuple<Tensor, Tensor, Tensor> msda_backward(const Tensor& grad, const Tensor& value,
                                                 Shapes shapes, const Tensor& locations,
                                                 const Tensor& weights, int64_t variant) {
  const Grads out =
      backward(Inputs(value, std::move(shapes), locations, weights), grad, false, variant == 1);
  return {out.value, out.points, out.weights};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> msda_fused_backward(
    const Tensor& grad, const Tensor& value, Shapes shapes, const Tensor& reference,
    const Tensor& offsets, const Tensor& logits, bool with_reference, int64_t variant) {
  const Grads out = backward(Inputs(value, std::move(shapes), offsets, logits, reference), grad,
                             with_reference, variant == 1);
  return {out.value, out.reference, out.points, out.weights};
}

STABLE_TORCH_LIBRARY_IMPL(grouppose, CUDA, m) {
  m.impl("msda", TORCH_BOX(&msda));
  m.impl("msda_backward", TORCH_BOX(&msda_backward));
  m.impl("msda_fused", TORCH_BOX(&msda_fused));
  m.impl("msda_fused_backward", TORCH_BOX(&msda_fused_backward));
}

}  // namespace
}  // namespace grouppose

// What was compiled, in the form of TORCH_CUDA_ARCH_LIST.
extern "C" __attribute__((visibility("default"))) const char* grouppose_cuda_architectures() {
  return GROUPPOSE_ARCHITECTURES;
}
