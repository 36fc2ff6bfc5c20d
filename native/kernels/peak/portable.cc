#include "kernels/simd/portable.h"

// The compiler must take `x` for changed: what is computed from it cannot be kept from the step before.
#define GOSSAMER_OPAQUE(x) asm volatile("" : "+m"(x))
#include "kernels/peak/floats.h"

namespace {

struct ByteChain {
  static constexpr int kLanes = 4, kProducts = 4 * kLanes;
  struct Factors {
    uint8_t x[kProducts];
    int8_t y[kProducts];
    Factors(int a, int b) {
      for (int i = 0; i < kProducts; ++i) x[i] = static_cast<uint8_t>(a), y[i] = static_cast<int8_t>(b);
    }
  };
  int32_t value[kLanes] = {};

  void step(Factors& f) {
    GOSSAMER_OPAQUE(f.x);
    for (int i = 0; i < kProducts; ++i) value[i / 4] += f.x[i] * f.y[i];
  }
  double sum() const { return double{0} + value[0] + value[1] + value[2] + value[3]; }
};

}  // namespace

namespace gossamer {
void peak_floats_portable(const PeakArgs& args) { ::peak<FloatChain>(args); }
void peak_bytes_portable(const PeakArgs& args) { ::peak<ByteChain>(args); }
}  // namespace gossamer
