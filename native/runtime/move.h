// One strided copy, which is all that many operators do.
#pragma once

#include "runtime/op.h"
#include "runtime/strided.h"

namespace gossamer {

// `walk` over (to, from), both from an offset in elements.
struct Move {
  Walk walk;
  int64_t to_offset = 0, from_offset = 0;
};

inline Move move(const Shape& shape, const Shape& to, const Shape& from) { return {make_walk(shape, to, from, from)}; }

inline void run_move(const Move& m, int64_t size, const std::byte* from, std::byte* to) {
  copy_strided(m.walk, size, from + m.from_offset * size, to + m.to_offset * size);
}

inline Step move_step(Build& b, const Move& m) {
  const int64_t size = dtype_size(b.inputs[0]->dtype);
  return {[=, x = b.in(0), y = b.out()](const Run& run) {
            run_move(m, size, run.at<std::byte>(x), run.at<std::byte>(y));
          },
          "strided copy", ""};
}

}  // namespace gossamer
