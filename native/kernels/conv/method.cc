#include "kernels/conv/method.h"

#include <algorithm>

namespace gossamer {

const ConvKernel& ConvMethod::kernel(Isa limit) const {
  const ConvKernel* best = &kernels()[0];
  for (const ConvKernel& row : kernels()) {
    if (row.isa <= limit) best = &row;
  }
  return *best;
}

double streaming_cycles(double floats, double times) { return floats <= (128 << 10) ? 0 : floats * times / 1.5; }

double storing_cycles(const ConvShape& s) { return s.out_channels * s.pixels() > (512 << 10) ? 28 : 14; }

std::span<const ConvMethod* const> conv_methods() {
  static const ConvMethod* const all[] = {&kDepthwiseConv, &kWinograd2Conv, &kWinograd4Conv, &kWinograd6Conv, &kFftConv, &kDirectConv, &kPackedConv};
  return all;
}

std::vector<const ConvMethod*> conv_candidates(const ConvShape& shape, Isa isa) {
  std::vector<const ConvMethod*> fitting;
  for (const ConvMethod* method : conv_methods()) {
    if (method->fits(shape)) fitting.push_back(method);
  }
  const auto cycles = [&](const ConvMethod* method) { return method->cycles(shape, method->kernel(isa).tile); };
  std::stable_sort(fitting.begin(), fitting.end(),
                   [&](const ConvMethod* a, const ConvMethod* b) { return cycles(a) < cycles(b); });
  return fitting;
}

}  // namespace gossamer
