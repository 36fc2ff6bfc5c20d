// Loops written out by the compiler's front end, so that an array of sums indexed by them becomes registers whatever the
// optimizer thinks of the loop's size.
#pragma once

namespace {

template <int kValue>
struct Index {
  constexpr operator int() const { return kValue; }
};

// f(Index<0>), ..., f(Index<kCount - 1>).
template <int kCount, class Function>
[[gnu::always_inline]] inline void unrolled(const Function& f) {
  if constexpr (kCount > 0) {
    unrolled<kCount - 1>(f);
    f(Index<kCount - 1>{});
  }
}

}  // namespace
