// Reductions of any type and any dimensions, one element at a time: what the float32 kernels of op_rows.cc do not do.
#include <cmath>
#include <limits>

#include "runtime/loops.h"
#include "runtime/errors.h"
#include "runtime/reduced.h"

namespace gossamer {
namespace {

enum class Kind { sum, mean, max, min, prod, l1, l2, sum_square, log_sum, log_sum_exp };

struct KindRow {
  const char* op;
  Kind kind;
};
constexpr KindRow kKinds[] = {{"ReduceSum", Kind::sum}, {"ReduceMean", Kind::mean}, {"ReduceMax", Kind::max},
                              {"ReduceMin", Kind::min}, {"ReduceProd", Kind::prod}, {"ReduceL1", Kind::l1},
                              {"ReduceL2", Kind::l2}, {"ReduceSumSquare", Kind::sum_square},
                              {"ReduceLogSum", Kind::log_sum}, {"ReduceLogSumExp", Kind::log_sum_exp}};

Kind kind_of(const Node& node) {
  for (const KindRow& row : kKinds) {
    if (node.op == row.op) return row.kind;
  }
  throw Unsupported(node.label());
}

// Floats are gathered in double precision, integers in 64 bits, where sums wrap around.
template <class T>
using Gathered = std::conditional_t<kIsReal<T>, double, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;

template <class T>
constexpr T lowest() {
  if constexpr (std::is_same_v<T, double>) return -std::numeric_limits<double>::infinity();
  else return std::numeric_limits<T>::min();
}

template <class T>
constexpr T highest() {
  if constexpr (std::is_same_v<T, double>) return std::numeric_limits<double>::infinity();
  else return std::numeric_limits<T>::max();
}

template <class A>
A wrapping_sum(A a, A b) {
  if constexpr (std::is_same_v<A, double>) return a + b;
  else return static_cast<A>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

template <class A>
A wrapping_product(A a, A b) {
  if constexpr (std::is_same_v<A, double>) return a * b;
  else return static_cast<A>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// What an accumulator of `kind` begins with; `largest`: of the elements, for log_sum_exp.
template <class T, class A = Gathered<T>>
A start(Kind kind) {
  if (kind == Kind::max) return kIsReal<T> ? lowest<A>() : static_cast<A>(lowest<std::conditional_t<kIsReal<T>, double, T>>());
  if (kind == Kind::min) return kIsReal<T> ? highest<A>() : static_cast<A>(highest<std::conditional_t<kIsReal<T>, double, T>>());
  return kind == Kind::prod ? A{1} : A{0};
}

template <class A>
A gather(Kind kind, A so_far, A x, double largest) {
  switch (kind) {
    case Kind::max: return x > so_far || x != x ? x : so_far;
    case Kind::min: return x < so_far || x != x ? x : so_far;
    case Kind::prod: return wrapping_product(so_far, x);
    case Kind::l1: return wrapping_sum(so_far, x < A{0} ? wrapping_sum(A{0}, wrapping_product(static_cast<A>(-1), x)) : x);
    case Kind::l2: case Kind::sum_square: return wrapping_sum(so_far, wrapping_product(x, x));
    case Kind::log_sum_exp: return static_cast<A>(static_cast<double>(so_far) + std::exp(static_cast<double>(x) - largest));
    default: return wrapping_sum(so_far, x);
  }
}

template <class A>
A finished(Kind kind, A gathered, int64_t count, double largest) {
  if (kind == Kind::mean) return count ? static_cast<A>(gathered / static_cast<A>(count)) : static_cast<A>(std::is_same_v<A, double> ? NAN : 0);
  if (kind == Kind::l2) return static_cast<A>(std::sqrt(static_cast<double>(gathered)));
  if (kind == Kind::log_sum) return static_cast<A>(std::log(static_cast<double>(gathered)));
  if (kind == Kind::log_sum_exp) return static_cast<A>(std::log(static_cast<double>(gathered)) + largest);
  return gathered;
}

// The walks over the dimensions that stay and over those that are reduced.
struct Walks {
  Walk kept, reduced;
  int64_t count = 1;  // elements that become one
};

Walks walks_of(const Shape& x, const std::vector<bool>& chosen) {
  const Shape strides = row_major(x);
  Shape kept, kept_strides, reduced, reduced_strides;
  for (size_t d = 0; d < x.size(); ++d) {
    (chosen[d] ? reduced : kept).push_back(x[d]);
    (chosen[d] ? reduced_strides : kept_strides).push_back(strides[d]);
  }
  return {make_walk(kept, row_major(kept), kept_strides, kept_strides), make_walk(reduced, reduced_strides, reduced_strides, reduced_strides),
          element_count(reduced)};
}

template <class T>
T reduced_one(const Walks& w, Kind kind, const T* x) {
  using A = Gathered<T>;
  double largest = 0;
  if (kind == Kind::log_sum_exp) {
    largest = -std::numeric_limits<double>::infinity();
    w.reduced.each_run([&](int64_t at, int64_t, int64_t) {
      for (int64_t i = 0; i < w.reduced.inner(); ++i) largest = std::fmax(largest, static_cast<double>(x[at + i * w.reduced.inner_stride(0)]));
    });
    if (!std::isfinite(largest)) largest = 0;
  }
  A so_far = start<T>(kind);
  if (w.count) {
    w.reduced.each_run([&](int64_t at, int64_t, int64_t) {
      for (int64_t i = 0; i < w.reduced.inner(); ++i) {
        so_far = gather(kind, so_far, static_cast<A>(x[at + i * w.reduced.inner_stride(0)]), largest);
      }
    });
  }
  return static_cast<T>(finished(kind, so_far, w.count, largest));
}

template <class T>
Step reduce_step(Build& b) {
  const Walks w = walks_of(b.shape(0), reduced_dimensions(b));
  const bool truth = b.inputs[0]->dtype == DType::boolean;  // all or any
  return {[=, kind = kind_of(b.node), x = b.in(0), y = b.out()](const Run& run) {
            w.kept.each_run([&](int64_t to, int64_t from, int64_t) {
              for (int64_t i = 0; i < w.kept.inner(); ++i) {
                const T result = reduced_one(w, kind, run.at<T>(x) + from + i * w.kept.inner_stride(1));
                run.at<T>(y)[to + i * w.kept.inner_stride(0)] = truth ? static_cast<T>(result != T{0}) : result;
              }
            });
          },
          "plain loop", ""};
}

}  // namespace

Step build_typed_reduce(Build& b) {
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) { return reduce_step<T>(b); });
}

}  // namespace gossamer
