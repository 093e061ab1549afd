// From the runtime's types to a kernel's template arguments.
#pragma once

#include "device.cuh"

namespace grouppose {

template <template <class, int> class Launch, class T, class... Args>
void dispatch_width(const Problem& p, const Args&... args) {
  if (p.channels % kWide<T> == 0) {
    Launch<T, kWide<T>>::launch(args...);
  } else {
    Launch<T, 1>::launch(args...);
  }
}

// Launch<T, VEC>::launch(args...), T being value's type, VEC the channels of a thread.
template <template <class, int> class Launch, class... Args>
void dispatch(const Problem& p, const Args&... args) {
  switch (p.value_type) {
    case Type::f32: return dispatch_width<Launch, float>(p, args...);
    case Type::f64: return dispatch_width<Launch, double>(p, args...);
    case Type::bf16: return dispatch_width<Launch, __nv_bfloat16>(p, args...);
    case Type::f16: return dispatch_width<Launch, __half>(p, args...);
  }
}

}  // namespace grouppose
