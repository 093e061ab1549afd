// What the operators are called with, checked and laid out for the kernels of any device.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <string>
#include <tuple>
#include <vector>

namespace grouppose {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Shapes = std::vector<int64_t>;  // h, w of every level, one after another

inline std::string text(const Tensor& x) {
  std::string sizes = "(";
  for (int64_t i = 0; i < x.dim(); ++i) sizes += (i ? ", " : "") + std::to_string(x.size(i));
  return sizes + ")";
}

inline void check_sizes(const char* name, const Tensor& x, const std::vector<int64_t>& expected) {
  bool same = x.dim() == int64_t(expected.size());
  std::string sizes;
  for (size_t i = 0; i < expected.size(); ++i) {
    same = same && x.size(i) == expected[i];
    sizes += (i ? ", " : "") + std::to_string(expected[i]);
  }
  STD_TORCH_CHECK(same, "grouppose: ", name, " is ", text(x), "; expected (", sizes, ")");
}

inline ScalarType accumulator(ScalarType type) {
  return type == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline Tensor empty_like(const Tensor& x, std::vector<int64_t> sizes, ScalarType type) {
  return torch::stable::new_empty(x, sizes, type);
}

// The inputs of one call, contiguous. `points` and `weights` are locations and weights, or offsets
// and logits where there is a `reference`.
struct Inputs {
  Tensor value, points, weights, reference;
  Shapes shapes;
  bool fused;
  int64_t batch, positions, heads, channels, queries, levels, samples;

  Inputs(const Tensor& value_, Shapes shapes_, const Tensor& points_, const Tensor& weights_)
      : Inputs(value_, std::move(shapes_), points_, weights_, value_, false) {}

  Inputs(const Tensor& value_, Shapes shapes_, const Tensor& points_, const Tensor& weights_,
         const Tensor& reference_, bool fused_ = true)
      : value(torch::stable::contiguous(value_)),
        points(torch::stable::contiguous(points_)),
        weights(torch::stable::contiguous(weights_)),
        reference(fused_ ? torch::stable::contiguous(reference_) : value),
        shapes(std::move(shapes_)),
        fused(fused_) {
    STD_TORCH_CHECK(value.dim() == 4, "grouppose: value is ", text(value), "; expected 4 sizes");
    STD_TORCH_CHECK(points.dim() == 6, "grouppose: points are ", text(points),
                    "; expected 6 sizes");
    batch = value.size(0);
    positions = value.size(1);
    heads = value.size(2);
    channels = value.size(3);
    queries = points.size(1);
    levels = int64_t(shapes.size()) / 2;
    samples = points.size(4);
    check();
  }

  std::vector<int64_t> out_sizes() const { return {batch, queries, heads * channels}; }
  std::vector<int64_t> value_sizes() const { return {batch, positions, heads, channels}; }
  std::vector<int64_t> weight_sizes() const { return {batch, queries, heads, levels, samples}; }
  std::vector<int64_t> point_sizes() const { return {batch, queries, heads, levels, samples, 2}; }
  std::vector<int64_t> reference_sizes() const { return {batch, queries, levels, 2}; }
  ScalarType precise() const { return accumulator(value.scalar_type()); }

 private:
  void check() const {
    check_sizes("points", points, point_sizes());
    check_sizes("weights", weights, weight_sizes());
    int64_t covered = 0;
    for (int64_t level = 0; level < levels; ++level) {
      const int64_t h = shapes[2 * level], w = shapes[2 * level + 1];
      STD_TORCH_CHECK(h > 0 && w > 0, "grouppose: level ", level, " is ", h, " x ", w);
      covered += h * w;
    }
    STD_TORCH_CHECK(covered == positions, "grouppose: the levels have ", covered,
                    " positions, value has ", positions);
    STD_TORCH_CHECK(positions * heads < (int64_t(1) << 31), "grouppose: value is ", text(value),
                    "; positions * heads must stay below 2^31");
    const ScalarType type = value.scalar_type(), point_type = points.scalar_type();
    STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double ||
                        type == ScalarType::BFloat16 || type == ScalarType::Half,
                    "grouppose: value must be float32, float64, bfloat16 or float16");
    STD_TORCH_CHECK(weights.scalar_type() == point_type &&
                        (point_type == precise() || (fused && point_type == type)),
                    "grouppose: points and weights must be float32 (float64 with float64 values); "
                    "offsets and logits may also be of value's type");
    for (const Tensor* x : {&points, &weights, &reference}) {
      STD_TORCH_CHECK(
          x->is_cuda() == value.is_cuda() && x->get_device_index() == value.get_device_index(),
          "grouppose: the tensors are on several devices");
    }
    if (fused) {
      check_sizes("reference", reference, reference_sizes());
      STD_TORCH_CHECK(reference.scalar_type() == precise(),
                      "grouppose: reference must be float32 (float64 with float64 values)");
    }
  }
};

}  // namespace grouppose
