// Plain loops over elements with broadcasting, for operators and types that no kernel has.
#pragma once

#include "runtime/op.h"
#include "runtime/strided.h"
#include "runtime/types.h"

namespace gossamer {

inline void infer_same(Inference& n) { n.outputs = {n.shape(0)}; }

inline void infer_broadcast(Inference& n) {
  Shape shape = n.shape(0);
  for (size_t i = 1; i < n.inputs.size(); ++i) shape = broadcast(shape, n.shape(i), n.node);
  n.outputs = {shape};
}

// Over the output, the first input and the second (or the first again), the inputs broadcast.
inline Walk broadcast_walk(const Build& b) {
  const Shape& out = b.out_shape();
  return make_walk(out, row_major(out), broadcast_strides(b.shape(0), out),
                   broadcast_strides(b.shape(b.inputs.size() > 1 ? 1 : 0), out));
}

// y[i] = f(x[i]).
template <class In, class Out, class Function>
Step map_step(Build& b, const Function& f) {
  const int64_t n = element_count(b.out_shape());
  return {[=, x = b.in(0), y = b.out()](const Run& run) {
            const In* from = run.at<In>(x);
            Out* to = run.at<Out>(y);
            for (int64_t i = 0; i < n; ++i) to[i] = f(from[i]);
          },
          "plain loop", ""};
}

// y[i] = f(a[i], b[i]) with broadcasting.
template <class A, class B, class Out, class Function>
Step zip_step(Build& b, const Function& f) {
  const Walk walk = broadcast_walk(b);
  const size_t second = b.inputs.size() > 1 ? 1 : 0;
  return {[=, x = b.in(0), y = b.in(second), out = b.out()](const Run& run) {
            const A* left = run.at<A>(x);
            const B* right = run.at<B>(y);
            Out* to = run.at<Out>(out);
            walk.each_run([&](int64_t o, int64_t l, int64_t r) {
              for (int64_t i = 0; i < walk.inner(); ++i) {
                to[o + i * walk.inner_stride(0)] =
                    f(left[l + i * walk.inner_stride(1)], right[r + i * walk.inner_stride(2)]);
              }
            });
          },
          "plain loop", ""};
}

}  // namespace gossamer
