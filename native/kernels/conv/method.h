// The methods that compute a convolution, and the choice between them.
#pragma once

#include <span>
#include <vector>

#include "kernels/conv/conv.h"

namespace gossamer {

// One way to compute a convolution. All read x, bias and residual and write y as ConvArgs say; each has its own form of the
// weights. What depends on the instruction set does so through a row's tile.
class ConvMethod {
 public:
  virtual std::span<const ConvKernel> kernels() const = 0;  // a row per instruction set, portable first
  virtual bool fits(const ConvShape& shape) const = 0;
  // An estimate, in cycles of one core, to compare methods by: cost of arithmetic, of packing and of reading the weights.
  virtual double cycles(const ConvShape& shape, Tile tile) const = 0;
  // Floats that the packed weights take, and the packing, from O x C/G x kh x kw.
  virtual int64_t weights_size(const ConvShape& shape, Tile tile) const = 0;
  virtual void pack(const ConvShape& shape, const float* weights, Tile tile, float* packed) const = 0;
  virtual int64_t scratch(const ConvShape& shape, Tile tile) const = 0;  // floats per thread
  virtual int64_t tasks(const ConvShape& shape, Tile tile) const = 0;  // into which the work is cut for threads

  const ConvKernel& kernel(Isa limit) const;  // the fastest row that `limit` allows

 protected:
  ~ConvMethod() = default;  // methods are constants
};

// What it takes to read so many floats of weights so many times: nothing of note where they stay in the second cache level.
double streaming_cycles(double floats, double times);

// What it takes to write an output vector beside the arithmetic: more where the output does not stay in the second cache level.
double storing_cycles(const ConvShape& shape);

// All methods; the last one fits every shape.
std::span<const ConvMethod* const> conv_methods();

// Those that fit the shape, the one with the least estimated cycles first.
std::vector<const ConvMethod*> conv_candidates(const ConvShape& shape, Isa isa);

extern const ConvMethod& kPackedConv;
extern const ConvMethod& kDirectConv;
extern const ConvMethod& kDepthwiseConv;
extern const ConvMethod& kFftConv;
extern const ConvMethod& kWinograd2Conv;
extern const ConvMethod& kWinograd4Conv;
extern const ConvMethod& kWinograd6Conv;

}  // namespace gossamer
