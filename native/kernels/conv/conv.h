// Cross-correlation, as deep learning calls convolution (ONNX Conv), NCHW, fp32:
//
//   y[n, o, i, j] = clamp(b[o] + r[n, o, i, j] + sum over c, u, v of
//                         w[o, c, u, v] x[n, g C/G + c, i s_h - p_t + u d_h, j s_w - p_l + v d_w], low, high)
//
// with x zero outside its bounds, group g = o G / O. What all methods share (method.h), and the method that fits every
// shape, "conv": as a matrix product, weights (O/G x K, K = C/G kh kw) times the matrix of patches (K x pixels), of which
// one panel at a time exists, in scratch memory that fits the first cache.
#pragma once

#include <cstdint>

#include "kernels/gemm/gemm.h"
#include "kernels/row.h"

namespace gossamer {

struct ConvShape {
  int64_t batch = 1, groups = 1;
  int64_t in_channels = 0, in_h = 1, in_w = 1;  // in_channels, out_channels: of all groups together
  int64_t out_channels = 0, out_h = 1, out_w = 1;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0;  // bottom and right follow from out_h, out_w

  // Always inlined: files of several instruction sets call them, and the linker must not choose one's copy for all.
  [[gnu::always_inline]] int64_t depth() const { return in_channels / groups * kernel_h * kernel_w; }  // K
  [[gnu::always_inline]] int64_t rows() const { return out_channels / groups; }
  [[gnu::always_inline]] int64_t pixels() const { return out_h * out_w; }
};

struct ConvArgs {
  ConvShape shape;
  const float* x = nullptr;
  const float* weights = nullptr;  // as the method packs them
  const float* bias = nullptr;  // out_channels, or none
  const float* residual = nullptr;  // like y, or none; may be y itself
  float* y = nullptr;
  float low = 0, high = 0;
  const CodedPanels* coded = nullptr;  // in place of weights, where the method reads them (direct)
  float* decoded = nullptr;  // kDecodedFloats of this thread alone, with `coded`
  float* scratch = nullptr;  // as many floats as the method asks for, for this thread alone
  int64_t task_begin = 0, task_end = 0;  // the share of one thread, of the method's tasks
};

struct ConvKernel {
  Isa isa;
  const char* name;
  void (*run)(const ConvArgs&);
  Tile tile;  // what the method computes at a time
};

extern const ConvKernel kConvKernels[kRowCount];

void conv_portable(const ConvArgs&);
void conv_avx2(const ConvArgs&);
void conv_avx512(const ConvArgs&);

inline constexpr int64_t kConvBlock = 8192;  // floats of a block of a panel: 32 KiB on every instruction set

}  // namespace gossamer
