// Short vectors in the compiler's own vector extension. Included once per instruction set, inside
// that set's namespace: nothing here may be shared between builds.

#define INLINE inline __attribute__((always_inline))

template <class T, int N>
struct VectorOf {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <class T>
struct VectorOf<T, 1> {
  typedef T type;
};
template <class T, int N>
using Vec = typename VectorOf<T, N>::type;

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

template <class T>
struct Accumulator {
  typedef float type;
};
template <>
struct Accumulator<double> {
  typedef double type;
};
template <class T>
using Acc = typename Accumulator<T>::type;

template <class To, class From>
INLINE To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

template <class V>
INLINE V load_raw(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

template <class V>
INLINE void store_raw(void* p, const V& v) {
  __builtin_memcpy(p, &v, sizeof(v));
}

// N 16-bit words, each in the low half of 32 bits.
template <int N>
INLINE Vec<uint32_t, N> load_words(const void* p) {
  if constexpr (N == 1) {
    return load_raw<uint16_t>(p);
  } else {
    return __builtin_convertvector(load_raw<Vec<uint16_t, N>>(p), Vec<uint32_t, N>);
  }
}

template <int N>
INLINE void store_words(void* p, const Vec<uint32_t, N>& words) {
  if constexpr (N == 1) {
    store_raw(p, uint16_t(words));
  } else {
    store_raw(p, __builtin_convertvector(words, Vec<uint16_t, N>));
  }
}

template <int N>
INLINE Vec<float, N> load(const float* p) {
  return load_raw<Vec<float, N>>(p);
}

template <int N>
INLINE Vec<double, N> load(const double* p) {
  return load_raw<Vec<double, N>>(p);
}

template <int N>
INLINE Vec<float, N> load(const bf16* p) {
  return bit_cast<Vec<float, N>>(load_words<N>(p) << 16);
}

// Exponent and fraction move to float's places, a product corrects the bias (subnormals, too), and
// Inf and NaN get float's highest exponent.
template <int N>
INLINE Vec<float, N> load(const f16* p) {
  typedef Vec<uint32_t, N> U;
  U half = load_words<N>(p);
  U magnitude = (half & 0x7fff) << 13;
  U bits = bit_cast<U>(bit_cast<Vec<float, N>>(magnitude) * 0x1p112f);
  U top = U{} + 0x7f800000u;
  bits |= (half & 0x7c00) == 0x7c00 ? top : U{};
  return bit_cast<Vec<float, N>>(bits | (half & 0x8000) << 16);
}

template <int N>
INLINE void store(float* p, const Vec<float, N>& v) {
  store_raw(p, v);
}

template <int N>
INLINE void store(double* p, const Vec<double, N>& v) {
  store_raw(p, v);
}

// Round to nearest, ties to even.
template <int N>
INLINE void store(bf16* p, const Vec<float, N>& v) {
  typedef Vec<uint32_t, N> U;
  U bits = bit_cast<U>(v);
  U rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  U nan = U{} + 0x7fc0u;
  store_words<N>(p, (bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

// As above: adding 0.5 in a float whose last bit weighs 2^-24 rounds what becomes subnormal.
template <int N>
INLINE void store(f16* p, const Vec<float, N>& v) {
  typedef Vec<uint32_t, N> U;
  typedef Vec<float, N> F;
  U bits = bit_cast<U>(v);
  U sign = bits >> 16 & 0x8000;
  U magnitude = bits & 0x7fffffff;
  U normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
  F half = F{} + 0.5f;
  U subnormal = bit_cast<U>(bit_cast<F>(magnitude) + half) - bit_cast<U>(half);
  U infinite = U{} + 0x7c00u;
  U nan = U{} + 0x7e00u;
  U word = magnitude < 0x38800000 ? subnormal : normal;
  word = magnitude >= 0x477ff000 ? infinite : word;
  word = magnitude > 0x7f800000 ? nan : word;
  store_words<N>(p, word | sign);
}

template <int N>
using Lanes = std::make_integer_sequence<int, N>;

// Element i of the result is element Pattern(i, N) of a followed by b.
template <int (*Pattern)(int, int), class V, int... I>
INLINE V shuffle(const V& a, const V& b, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, Pattern(I, sizeof...(I))...);
#else
  typedef std::conditional_t<sizeof(V) == 4 * sizeof...(I), int32_t, int64_t> Index;
  return __builtin_shuffle(a, b, Vec<Index, sizeof...(I)>{Pattern(I, sizeof...(I))...});
#endif
}

constexpr int evens(int i, int) { return 2 * i; }
constexpr int odds(int i, int) { return 2 * i + 1; }
constexpr int zip_low(int i, int n) { return i / 2 + i % 2 * n; }
constexpr int zip_high(int i, int n) { return n / 2 + i / 2 + i % 2 * n; }
// Of every four elements, two of a and two of b: cheap in every instruction set.
constexpr int lane_evens(int i, int n) { return i / 4 * 4 + i % 2 * 2 + i % 4 / 2 * n; }
constexpr int lane_odds(int i, int n) { return lane_evens(i, n) + 1; }

template <class T>
INLINE void store_many(const Acc<T>* from, int64_t count, T* to) {
  constexpr int N = VECTOR_BYTES / sizeof(Acc<T>);
  int64_t i = 0;
  for (; i + N <= count; i += N) store<N>(to + i, load<N>(from + i));
  for (; i < count; ++i) store<1>(to + i, from[i]);
}

// Stores past the caches, which else fetch what is overwritten; `p` is aligned to the vector.
template <int N>
INLINE void stream(float* p, const Vec<float, N>& v) {
#if defined(__clang__)
  __builtin_nontemporal_store(v, reinterpret_cast<Vec<float, N>*>(p));
#elif defined(__x86_64__) && VECTOR_BYTES == 64
  __builtin_ia32_movntps512(p, v);
#elif defined(__x86_64__) && VECTOR_BYTES == 32
  __builtin_ia32_movntps256(p, v);
#else
  store<N>(p, v);
#endif
}

// As store_many, for an output that is larger than the caches: rows of whole cache lines are
// streamed. end_streams comes before other threads read them.
template <class T>
INLINE void stream_many(const Acc<T>* from, int64_t count, T* to) {
  if constexpr (std::is_same_v<T, float>) {
    constexpr int N = VECTOR_BYTES / sizeof(float);
    if (reinterpret_cast<uintptr_t>(to) % 64 == 0 && count % 16 == 0) {
      for (int64_t i = 0; i < count; i += N) stream<N>(to + i, load<N>(from + i));
      return;
    }
  }
  store_many<T>(from, count, to);
}

INLINE void end_streams() {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

// Elements [First, First + N / 2).
template <int First, class T, int N, int... I>
INLINE Vec<T, N / 2> half(const Vec<T, N>& v, std::integer_sequence<int, I...>) {
#if defined(__clang__) || __GNUC__ >= 12
  if constexpr (N > 2) return __builtin_shufflevector(v, v, (First + I)...);
#endif
  return load_raw<Vec<T, N / 2>>(reinterpret_cast<const T*>(&v) + First);
}

template <class T, int N>
INLINE Vec<T, N / 2> low_half(const Vec<T, N>& v) {
  return half<0, T, N>(v, Lanes<N / 2>());
}

template <class T, int N>
INLINE Vec<T, N / 2> high_half(const Vec<T, N>& v) {
  return half<N / 2, T, N>(v, Lanes<N / 2>());
}

// Sums of elements i, i + 4, i + 8, ...
template <class T, int N>
INLINE Vec<T, 4> fold(const Vec<T, N>& v) {
  if constexpr (N == 4) {
    return v;
  } else {
    return fold<T, N / 2>(low_half<T, N>(v) + high_half<T, N>(v));
  }
}

template <class T, int N>
INLINE T sum(const Vec<T, N>& v) {
  if constexpr (N == 1) {
    return v;
  } else {
    return sum<T, N / 2>(low_half<T, N>(v) + high_half<T, N>(v));
  }
}

template <class T, int N>
INLINE T maximum(const Vec<T, N>& v) {
  if constexpr (N == 1) {
    return v;
  } else {
    auto a = low_half<T, N>(v);
    auto b = high_half<T, N>(v);
    return maximum<T, N / 2>(a > b ? a : b);
  }
}

// Memory of one thread's share of a call, handed out in aligned pieces.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : start_(static_cast<char*>(malloc(bytes + 64))) {
    if (!start_) throw std::bad_alloc();
    next_ = start_ + (64 - reinterpret_cast<uintptr_t>(start_) % 64);
  }
  ~Scratch() { free(start_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T>
  T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(next_);
    next_ += (count * sizeof(T) + 63) / 64 * 64;
    return piece;
  }

 private:
  char* start_;
  char* next_;
};
